"""Foreign checkpoints become run folders, and go back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from aedo.errors import UserError
from aedo.experiment import Experiment
from aedo.interop.checkpoint_file import read_checkpoint
from aedo.interop.folder import export_run, import_run
from aedo.interop.infer import Unseen, experiment_of
from aedo.interop.returnn import convert_state
from aedo.run import RunFolder
from tests.interop.files import NAMES, UNSEEN, arrays_of, difference, outputs_of, state_of, write_checkpoint

TOLERANCE = 2e-5


def imported(folder: Path, name: str = "base") -> RunFolder:
    source = read_checkpoint(write_checkpoint(folder / "model.pt", name))
    return import_run(source, folder / "run", UNSEEN.get(name, Unseen()))


@pytest.mark.parametrize("name", NAMES)
def test_an_imported_run_computes_what_the_original_did(name: str, tmp_path: Path) -> None:
    ours = outputs_of(imported(tmp_path, name).load_model("last"), name)
    reference, targets = arrays_of(name, "outputs"), arrays_of(name, "inputs")["targets_len"]
    targets = reference.get("dec_targets_len", targets)
    frames = reference["enc_len"]
    assert ours["enc_len"].tolist() == frames.tolist()
    assert difference(ours["enc"], reference["enc"], frames) < TOLERANCE
    head = {"ctc-only": "ctc_log_probs_final", "large": "ctc_log_probs_3"}.get(name, "ctc_log_probs_2")
    assert difference(ours["ctc"], reference[head], frames) < TOLERANCE
    if name != "ctc-only":
        assert difference(ours["dec_logits"], reference["dec_logits"], targets) < TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_export_gives_back_what_was_imported(name: str, tmp_path: Path) -> None:
    run = imported(tmp_path, name)
    out = tmp_path / "back.pt"
    export_run(run, "last", out)
    content, original = torch.load(out, weights_only=True), state_of(name)
    assert (content["epoch"], content["step"]) == (7, 12345)
    assert content["model"].keys() == original.keys()
    assert all(torch.equal(value, original[key]) for key, value in content["model"].items())
    again = import_run(read_checkpoint(out), tmp_path / "again", UNSEEN.get(name, Unseen()))
    assert again.experiment() == run.experiment()
    one, other = run.load_model("last").state_dict(), again.load_model("last").state_dict()
    assert all(torch.equal(value, other[key]) for key, value in one.items())


def test_the_full_size_model_is_inferred_from_its_shapes_and_fits_name_by_name() -> None:
    path = Path(__file__).parent.parent / "golden" / "data" / "full_param_shapes.json"
    entries = json.loads(path.read_text())["entries"]
    state = {entry["name"]: torch.empty(entry["shape"], device="meta") for entry in entries}
    experiment = experiment_of(state, Unseen(behavior_version=24), "full")
    for part in ("features", "frontend", "encoder", "decoder"):
        assert getattr(experiment, part) == getattr(Experiment(), part), part
    assert (experiment.ctc.layers, experiment.tokenizer.size) == ((4, 8), 10025)
    with torch.device("meta"):
        model = experiment.build_model(10025)
    converted = convert_state(state, model)
    assert {name: value.shape for name, value in converted.items()} == {
        name: value.shape for name, value in model.state_dict().items()
    }


def test_what_parity_needs_can_be_read_in_the_experiment(tmp_path: Path) -> None:
    run = imported(tmp_path)
    tree = json.loads((run.path / "experiment.json").read_text())["experiment"]
    assert tree["frontend"]["padding"] == tree["encoder"]["convolution"]["padding"] == "batch"
    assert tree["encoder"]["attention"]["dropout_share"] == "all_but_keys"
    assert tree["ctc"]["eos"] is True
    assert tree["features"]["log_base"] == pytest.approx(10.00015, abs=1e-5)
    checkpoint = run.checkpoint("last")
    assert (checkpoint.label, checkpoint.epoch, checkpoint.micro_step) == ("epoch-0007", 7, 12345)
    assert run.info["imported"]["file"].endswith("model.pt")


def test_newer_behaviour_and_settings_are_taken_over(tmp_path: Path) -> None:
    source = read_checkpoint(write_checkpoint(tmp_path / "model.pt"))
    settings = ["decoder.zone_cell=0.1", "features.log_base=10", "ctc.eos=false"]
    experiment = import_run(source, tmp_path / "run", Unseen(24, settings=settings)).experiment()
    assert experiment.frontend.padding == experiment.encoder.convolution.padding == "consistent"
    assert experiment.encoder.attention.dropout_share == "none"
    assert (experiment.decoder.zone_cell, experiment.features.log_base, experiment.ctc.eos) == (0.1, 10.0, False)


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    run = imported(tmp_path)
    with pytest.raises(UserError, match="exists already"):
        import_run(read_checkpoint(tmp_path / "model.pt"), run.path, Unseen())


@pytest.mark.parametrize(
    ("unseen", "vocabulary", "message"),
    [
        (Unseen(settings=["encoder.attention.heads=3"]), None, "pos_emb is .33, 12., the model needs .33, 16."),
        (Unseen(settings=["encoder.no=3"]), None, "has no field 'no'"),
        (Unseen(settings=["encoder.layers"]), None, "expected FIELD=VALUE"),
        (Unseen(settings=["ctc.eos=perhaps"]), None, "eos"),
        (Unseen(activation="tanh"), None, "activation"),
        (Unseen(), "</s>\na\nb\n", "3 labels, but the model has 40"),
    ],
)
def test_what_fails_leaves_nothing_behind(unseen: Unseen, vocabulary: str | None, message: str, tmp_path: Path) -> None:
    source = read_checkpoint(write_checkpoint(tmp_path / "model.pt"))
    path = None
    if vocabulary is not None:
        path = tmp_path / "vocab.txt"
        path.write_text(vocabulary)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=message):
        import_run(source, tmp_path / "run", unseen, path)
    assert sorted(tmp_path.iterdir()) == before


def test_one_message_lists_both_sides_and_the_nearest_names(tmp_path: Path) -> None:
    state = state_of("base")
    state["enc_ctxt.bias"] = state.pop("enc_ctx.bias")
    state["energy.weight"] = torch.zeros(3, 1)
    state["lm.embedding"] = torch.zeros(2)
    source = read_checkpoint(write_checkpoint(tmp_path / "model.pt", model=state))
    with pytest.raises(UserError) as caught:
        import_run(source, tmp_path / "run", Unseen())
    message = str(caught.value)
    assert "missing in the checkpoint: enc_ctx.bias 64 (nearest on the other side: enc_ctxt.bias 64)" in message
    assert "unknown to the model: enc_ctxt.bias 64 (nearest on the other side: enc_ctx.bias 64)" in message
    assert "unknown to the model: lm.embedding 2" in message
    assert "shape: energy.weight is [3, 1], the model needs [64, 1]" in message
    assert not (tmp_path / "run").exists()


def test_a_model_of_another_family_is_named_as_such(tmp_path: Path) -> None:
    state = {"blocks.0.attn.weight": torch.zeros(2, 2), "head.bias": torch.zeros(2)}
    source = read_checkpoint(write_checkpoint(tmp_path / "model.pt", model=state))
    with pytest.raises(UserError, match="not a model aedo can import"):
        import_run(source, tmp_path / "run", Unseen())


def test_a_missing_layer_is_found(tmp_path: Path) -> None:
    state = {name: value for name, value in state_of("base").items() if "encoder.layers.1." not in name}
    with pytest.raises(UserError, match=r"has the numbers \[0, 2\]: some are missing"):
        experiment_of(state, Unseen(), "model.pt")


def test_a_failed_export_leaves_nothing_behind(tmp_path: Path) -> None:
    run = imported(tmp_path)
    with pytest.raises(UserError, match="a folder"):
        export_run(run, "last", tmp_path)
    with pytest.raises(UserError, match="no checkpoint 'epoch-9'"):
        export_run(run, "epoch-9", tmp_path / "x.pt")
    with pytest.raises(UserError, match="cannot write the checkpoint"):
        export_run(run, "last", tmp_path / "nowhere" / "x.pt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.pt", "run"]


@pytest.mark.parametrize("kind", ["utterance", "global"])
def test_normalisation_that_the_original_does_not_have_is_not_exported(kind: str, tmp_path: Path) -> None:
    run = imported(tmp_path)
    tree = json.loads((run.path / "experiment.json").read_text())
    tree["experiment"]["features"]["normalize"] = {"kind": kind}
    (run.path / "experiment.json").write_text(json.dumps(tree))
    with pytest.raises(UserError, match=f"features.normalize is of kind {kind}"):
        export_run(RunFolder.open(run.path), "last", tmp_path / "back.pt")
    assert not (tmp_path / "back.pt").exists()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("encoder.attention.position", {"kind": "rotary"}, "position is of kind rotary"),
        ("encoder.attention.position", {"kind": "none"}, "position is of kind none"),
        ("encoder.attention.qk_norm", "l2", "qk_norm is l2"),
        ("encoder.norm", "rms", "encoder.norm is rms"),
        ("encoder.norm", "layer_no_bias", "encoder.norm is layer_no_bias"),
    ],
)
def test_what_names_would_not_show_is_not_exported(field: str, value: object, message: str, tmp_path: Path) -> None:
    run = imported(tmp_path)
    tree = json.loads((run.path / "experiment.json").read_text())
    changed = Experiment.model_validate(tree["experiment"]).with_(field, value)
    tree["experiment"] = changed.model_dump(mode="json")
    (run.path / "experiment.json").write_text(json.dumps(tree))
    with pytest.raises(UserError, match=message):
        export_run(RunFolder.open(run.path), "last", tmp_path / "back.pt")
    assert not (tmp_path / "back.pt").exists()


def test_a_normalisation_of_other_size_than_the_front_end_is_refused() -> None:
    state = {**state_of("large"), "feature_batch_norm.running_mean": torch.zeros(40)}
    with pytest.raises(UserError, match="feature_batch_norm has 40 bands, the front-end 80"):
        experiment_of(state, Unseen(), "large")
