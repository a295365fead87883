"""The Transformer language model: every layer, probabilities, perplexity, greedy labels and all gradients."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from aedo.cli import build
from aedo.data.text import load_tokenizer
from aedo.errors import UserError
from aedo.interop.checkpoint_file import ForeignCheckpoint
from aedo.interop.returnn_lm import import_lm, is_language_model, lm_config
from aedo.lm.load import load_lm
from aedo.lm.transformer_lm import TransformerLM
from aedo.verify.folder import arrays_of
from aedo.verify.verification import Verification
from tests.golden.models import FOLDER
from tests.lm.toy import CPU

PLACE = FOLDER / "transformer-lm"


def test_every_station_equals_the_reference() -> None:
    verification = Verification.of(PLACE)
    checks = list(verification.checks())
    assert [str(check) for check in checks if not check.ok] == []
    assert verification.left_over() == []
    stations = {check.station for check in checks}
    assert {"layer_1", "layer_3", "logits", "log_prob_per_seq", "perplexity", "greedy"} <= stations
    assert sum(station.startswith("grad/") for station in stations) == 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"norm": "LayerNorm eps 1e-6"}, "norm is 'LayerNorm eps 1e-6', expected RMSNorm"),
        ({"norm": "RMSNorm eps 1e-5"}, "expected RMSNorm eps 1e-06"),
        ({"self_att": "causal"}, "expected a gated network and rotary"),
        ({"pos_enc": "sinusoids"}, "pos_enc is 'sinusoids', expected None"),
        ({"shared_embedding": False}, "shared_embedding is False"),
        ({"num_layers": 4}, "num_layers is 4, the checkpoint has 3"),
        ({"num_heads": 5}, "dim 48 does not give 5 heads"),
    ],
)
def test_other_models_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    shutil.copytree(PLACE, tmp_path / "other")
    config = json.loads((PLACE / "config.json").read_text())
    (tmp_path / "other" / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(UserError, match=message):
        list(Verification.of(tmp_path / "other").checks())


def foreign(path: Path = PLACE / "checkpoint.pt") -> ForeignCheckpoint:
    return ForeignCheckpoint(path, load_file(PLACE / "checkpoint.safetensors"), 7, 12345)


def test_an_imported_model_is_loaded_for_searches(tmp_path: Path) -> None:
    source = foreign(tmp_path / "lm.pt")
    source.path.write_bytes(b"weights")
    assert is_language_model(source.state)
    description = import_lm(source, tmp_path / "lm", ["heads=4"], None, None)
    assert description.about["imported"]["step"] == 12345
    model = load_lm(tmp_path / "lm", load_tokenizer(tmp_path / "lm" / "tokenizer"))
    assert isinstance(model, TransformerLM)
    scorer = model.scorer(1, CPU)
    scores, state = scorer.step(None, scorer.start())
    chosen = []
    for _ in range(20):
        chosen.append(int(scores.argmax()))
        with torch.no_grad():
            scores, state = scorer.step(torch.tensor([chosen[-1:]]), state)
    assert chosen == arrays_of(PLACE / "outputs.npz")["greedy"].tolist()
    with pytest.raises(UserError, match="exists already"):
        import_lm(source, tmp_path / "lm", ["heads=4"], None, None)


def test_what_shapes_do_not_show_is_asked_for() -> None:
    state = foreign().state
    with pytest.raises(UserError, match=r"dim 48 does not give 5 heads"):
        lm_config(state, "lm.pt", ["heads=5"])
    with pytest.raises(UserError, match=r"--set layers=3: of a language model, heads=N can be set"):
        lm_config(state, "lm.pt", ["layers=3"])
    with pytest.raises(UserError, match=r"'x' is no number"):
        lm_config(state, "lm.pt", ["heads=x"])


def test_a_model_with_its_own_output_matrix_is_refused(tmp_path: Path) -> None:
    source = foreign(tmp_path / "lm.pt")
    source.path.write_bytes(b"weights")
    source.state["logits.weight"] = source.state["logits.weight"] + 1
    with pytest.raises(UserError, match=r"differs: logits.weight is not the matrix of input_embedding.weight"):
        import_lm(source, tmp_path / "lm", ["heads=4"], None, None)
    assert not (tmp_path / "lm").exists()


def test_the_verb_imports_language_models_too(tmp_path: Path) -> None:
    torch.save({"model": foreign().state, "epoch": 7, "step": 12345}, tmp_path / "lm.pt")
    arguments = ["import", "returnn", str(tmp_path / "lm.pt"), "-o", str(tmp_path / "lm"), "--set", "heads=4"]
    found = CliRunner().invoke(build(), arguments)
    assert found.exit_code == 0, found.output
    assert "a language model of 3 layers, 48 wide, 60 labels" in found.output
    refused = CliRunner().invoke(build(), [*arguments, "--activation", "swish"])
    assert isinstance(refused.exception, UserError)
    assert "are for recognisers" in str(refused.exception)
