"""TensorFlow checkpoints of the original system."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor

from aedo.errors import UserError
from aedo.interop.folder import import_run
from aedo.interop.infer import Unseen
from aedo.interop.returnn_tf import pytorch_state, read_tf_checkpoint
from aedo.run import RunFolder
from tests.interop.files import FOLDER, arrays_of, difference, outputs_of, state_of

INDEX = FOLDER / "tf-import" / "tf-ckpt" / "model.index"
needs_tensorflow = pytest.mark.skipif(find_spec("tensorflow") is None, reason="needs the extra: make test-tf")

NAMES = {
    "encoder.input_layer.conv_layers.0": "conv0",
    "encoder.input_layer.conv_layers.1": "subsample_conv0",
    "encoder.input_layer.conv_layers.2": "subsample_conv1",
    "encoder.input_projection": "source_linear",
    "ffn1.linear_ff": "ffmod_1_ff1",
    "ffn1.linear_out": "ffmod_1_ff2",
    "ffn2.linear_ff": "ffmod_2_ff1",
    "ffn2.linear_out": "ffmod_2_ff2",
    "ffn1_layer_norm": "ffmod_1_ln",
    "ffn2_layer_norm": "ffmod_2_ln",
    "self_att.proj": "self_att_linear",
    "self_att_layer_norm": "self_att_ln",
    "conv_block.positionwise_conv1": "conv_mod_pointwise_conv1",
    "conv_block.positionwise_conv2": "conv_mod_pointwise_conv2",
    "conv_block.depthwise_conv": "conv_mod_depthwise_conv2",
    "conv_layer_norm": "conv_mod_ln",
    "final_layer_norm": "ln",
    "target_embed": "output/rec/target_embed0",
    **{n: f"output/rec/{n}" for n in ("weight_feedback", "s_transformed", "energy", "readout_in", "output_prob")},
}


def variable(name: str, value: Tensor, prefix: str) -> tuple[str, Tensor]:
    """The TensorFlow variable for a parameter of the PyTorch backend."""
    owner, _, last = name.rpartition(".")
    block = ""
    if owner.startswith("encoder.layers."):
        number, _, owner = owner.removeprefix("encoder.layers.").partition(".")
        block = f"conformer_block_{int(number) + 1:02d}_"
    if owner == "conv_block.norm":
        odd = f"{block}conv_mod_bn/batch_norm/{prefix}{last.removeprefix('running_')}"
        return odd, value[None, None]
    if owner == "self_att.qkv":
        return f"{block}self_att/QKV", value
    if last == "pos_emb":
        return f"{block}self_att_ln_rel_pos_enc/encoding_matrix", value
    if last == "filter":
        value = value.permute(*range(2, value.ndim), 1, 0)
    convolution = "conv_layers" in owner or owner.endswith("depthwise_conv")
    short = {"weight": "W", "filter": "W", "bias": "bias" if convolution or "norm" in owner else "b", "scale": "scale"}
    return f"{block}{NAMES.get(owner, owner)}/{short[last]}", value


def variables_of(state: dict[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """TensorFlow's variables for a state dict: gates i, j, f, o, and a forget bias without the cell's own one."""
    variables = dict(
        variable(name, value, prefix) for name, value in state.items() if not name.startswith(("s.", "enc_aux_logits"))
    )
    candidate, enter, forget, leave = torch.cat([state["s.ff_weight"], state["s.rec_weight"]], 1).chunk(4)
    variables["output/rec/s/rec/lstm_cell/kernel"] = torch.cat([enter, candidate, forget, leave]).T
    candidate, enter, forget, leave = state["s.bias"].chunk(4)
    variables["output/rec/s/rec/lstm_cell/bias"] = torch.cat([enter, candidate, forget - 1.0, leave])
    return variables


@pytest.mark.parametrize("prefix", ["", "conv_mod_bn_conv_mod_bn_output_", "v2/"])
def test_every_variable_finds_its_place(prefix: str) -> None:
    state = {name: value for name, value in state_of("base").items() if "enc_aux" not in name}
    converted = pytorch_state(variables_of(state, prefix), "model.index")
    assert converted.keys() == state.keys()
    for name, value in state.items():
        torch.testing.assert_close(converted[name], value, rtol=0, atol=1e-6 if name == "s.bias" else 0, msg=name)


def test_the_ctc_layer_becomes_the_head_of_the_top_layer() -> None:
    weight, bias = torch.randn(48, 41), torch.randn(41)
    converted = pytorch_state({**variables_of(state_of("base")), "ctc/W": weight, "ctc/b": bias}, "model.index")
    assert torch.equal(converted["enc_aux_logits_3.weight"], weight)
    assert torch.equal(converted["enc_aux_logits_3.bias"], bias)


def test_variables_of_the_optimizer_are_left_out() -> None:
    variables = variables_of(state_of("base"))
    names = ("conv0/W/Adam", "conv0/W/Adam_1", "beta1_power", "optimize/x", "learning_rate", "conv0/W/var_accum_grad")
    slots = {name: torch.ones(2) for name in names}
    assert pytorch_state({**variables, **slots}, "x").keys() == pytorch_state(variables, "x").keys()


def test_unknown_doubled_and_missing_variables_are_listed_together() -> None:
    variables = variables_of(state_of("base"))
    del variables["output/rec/s/rec/lstm_cell/bias"]
    variables["conformer_block_01_conv_mod_bn/batch_norm/other_mean"] = torch.ones(48)
    variables["lm/W"] = torch.ones(3)
    variables["enc_ctx/b"] = torch.full((64,), float("nan"))
    with pytest.raises(UserError) as caught:
        pytorch_state(variables, "model.index")
    message = str(caught.value)
    assert "missing in the checkpoint: output/rec/s/rec/lstm_cell/bias" in message
    assert "unknown to the model: lm/W 3" in message
    assert "ambiguous: conformer_block_01_conv_mod_bn" in message
    assert "enc_ctx/b: not finite" in message


@pytest.mark.parametrize(("rows", "columns"), [(144, 255), (64, 256), (10, 256)])
def test_a_misshaped_cell_is_an_error(rows: int, columns: int) -> None:
    variables = variables_of(state_of("base"))
    variables["output/rec/s/rec/lstm_cell/kernel"] = torch.zeros(rows, columns)
    with pytest.raises(UserError, match="lstm_cell/kernel"):
        pytorch_state(variables, "model.index")


def test_a_missing_index_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file; a TensorFlow checkpoint is"):
        read_tf_checkpoint(tmp_path / "epoch.100.index")


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return import_run(read_tf_checkpoint(INDEX), tmp_path_factory.mktemp("tf") / "run", Unseen())


@needs_tensorflow
def test_the_tensorflow_outputs_come_from_the_tensorflow_files_alone(imported: RunFolder) -> None:
    experiment = imported.experiment()
    assert (experiment.encoder.layers, experiment.encoder.dim, experiment.ctc.layers) == (3, 48, (3,))
    model = imported.load_model("last")
    reference = arrays_of("tf-import", "tf_outputs")
    ours, frames = outputs_of(model, "tf-import"), reference["S:encoder:1"]
    labels = arrays_of("tf-import", "inputs")["targets_len"]
    assert ours["enc_len"].tolist() == frames.tolist()
    assert difference(ours["enc"], reference["L:encoder"], frames) < 2e-5
    assert difference(torch.from_numpy(ours["ctc"]).exp().numpy(), reference["L:ctc"], frames) < 2e-5
    assert difference(ours["dec_logits"], reference["L:output/output_prob"], labels) < 2e-5


@needs_tensorflow
@pytest.mark.slow
def test_damaged_tensorflow_checkpoints_are_refused(tmp_path: Path) -> None:
    data = INDEX.parent / "model.data-00000-of-00001"
    cases: dict[str, tuple[bytes, bytes | None]] = {
        "cut_index": (INDEX.read_bytes()[:2000], data.read_bytes()),
        "empty_index": (b"", data.read_bytes()),
        "no_data": (INDEX.read_bytes(), None),
        "cut_data": (INDEX.read_bytes(), data.read_bytes()[:100_000]),
        "noise": (os.urandom(4000), data.read_bytes()),
    }
    for name, (index, content) in cases.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "model.index").write_bytes(index)
        if content is not None:
            (folder / data.name).write_bytes(content)
        with pytest.raises(UserError, match=r"TensorFlow cannot read it \(|promises more values"):
            read_tf_checkpoint(folder / "model.index")


def test_without_tensorflow_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aedo.interop.returnn_tf.find_spec", lambda name: None)
    shutil.copy(INDEX, tmp_path / "model.index")
    with pytest.raises(UserError, match=r"pip install 'aedo\[tf\]'"):
        read_tf_checkpoint(tmp_path / "model.index")
