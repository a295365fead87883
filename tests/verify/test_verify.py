"""What aedo verify tells of folders that are right, wrong, incomplete, or not folders of reference values."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from aedo.cli import build
from aedo.errors import UserError
from aedo.verify.verification import Verification
from tests.golden.models import FOLDER

SHORT = ("log_mel", "log_mel_len", "enc_len", "enc", "dec_logits")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A writable copy of base with a few outputs and no beams: quick to verify."""
    copy = tmp_path / "model"
    shutil.copytree(FOLDER / "base", copy)
    (copy / "beam.json").unlink()
    keep(copy, *SHORT)
    return copy


def keep(folder: Path, *names: str) -> None:
    with np.load(folder / "outputs.npz") as outputs:
        np.savez(folder / "outputs.npz", **{name: outputs[name] for name in names})


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def verify(folder: Path, *options: str) -> tuple[int, str]:
    result = CliRunner().invoke(build(), ["verify", str(folder), *options])
    if isinstance(result.exception, UserError):
        raise result.exception
    return result.exit_code, result.stdout


def test_equal_stations_are_listed_as_ok(folder: Path) -> None:
    status, table = verify(folder)
    assert status == 0
    assert [line.split()[1] for line in table.splitlines() if " OK" in line and "e-05 " in line] == [
        "log_mel_len", "log_mel", "enc_len", "enc", "dec_logits",
    ]  # fmt: skip
    assert table.splitlines()[-1] == "6 stations compared, 0 failed: OK"


def test_a_slightly_different_weight_fails_where_it_first_matters(folder: Path) -> None:
    state = load_file(folder / "checkpoint.safetensors")
    state["readout_in.bias"] += 1e-2
    save_file(state, folder / "checkpoint.safetensors")
    status, table = verify(folder)
    assert status == 1
    assert [line.split()[1] for line in table.splitlines() if line.endswith("FAIL")] == ["dec_logits", "stations"]


@pytest.mark.parametrize("change", [lambda a: a[:, :-1], lambda a: a * np.nan, lambda a: a[..., :-1], lambda a: a[:2]])
def test_wrong_shapes_and_nan_fail(folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    with np.load(folder / "outputs.npz") as outputs:
        arrays = dict(outputs)
    np.savez(folder / "outputs.npz", **{**arrays, "enc": change(arrays["enc"])})
    checks = {check.station: check.ok for check in Verification.of(folder).checks()}
    assert checks.pop("exported again")
    assert checks == {"log_mel_len": True, "log_mel": True, "enc_len": True, "enc": False, "dec_logits": True}


def test_what_cannot_be_compared_is_named_and_not_ok(folder: Path) -> None:
    with np.load(folder / "outputs.npz") as outputs:
        np.savez(folder / "outputs.npz", **outputs, mystery=np.zeros(3))
    status, table = verify(folder)
    assert status == 0
    assert "not compared, aedo has no counterpart: mystery" in table
    keep(folder, "mystery")
    with pytest.raises(UserError, match="nothing to compare"):
        verify(folder)


def test_another_hypothesis_fails(folder: Path) -> None:
    beams = json.loads((FOLDER / "base" / "beam.json").read_text())
    beams = {"beam_size": beams["beam_size"], "single": beams["single"]}
    beams["single"][2][1]["raw_labels_full"][0] += 1
    (folder / "beam.json").write_text(json.dumps(beams))
    (check,) = (check for check in Verification.of(folder).checks() if check.part == "beams")
    assert not check.ok
    assert check.note.startswith("utterance 3, hypothesis 2: ")


def test_every_gradient_has_a_line_on_request(tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(FOLDER / "ctc-only", copy)
    (copy / "beam.json").unlink()
    with np.load(copy / "outputs.npz") as outputs:
        keep(copy, *(name for name in outputs if name.startswith("grad")))
    status, brief = verify(copy)
    assert status == 0
    assert brief.count("grad/") == 1
    assert verify(copy, "--every")[1].count("grad/") > 50


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["lstm_decoder"].update(att_num_heads=2), "att_num_heads is 2, but the checkpoint's is 1"),
        (lambda c: c.update(ff_activation="gelu"), "ff_activation is 'gelu'"),
        (lambda c: c.update(conv_norm="GroupNorm"), "conv_norm is 'GroupNorm'"),
        (lambda c: c["self_att"].update(with_bias=True), "self_att: no attention for with_bias True"),
        (lambda c: c.pop("enc_dim"), "enc_dim is missing, expected a whole number"),
        (lambda c: c.update(enc_dim="48"), "enc_dim is '48', expected a whole number"),
        (lambda c: c.update(enc_att_num_heads=5), "enc_att_num_heads is 5, but the checkpoint's is 4"),
        (lambda c: c.update(decoder="rnn", lstm_decoder=None), "decoder is 'rnn' without its dimensions"),
        (lambda c: c.update(self_att="chunked", chunk={"frames": 8}), "chunk, which aedo does not know; the model"),
        (lambda c: c["log_mel"].update(log_base="two"), "log_mel.log_base is 'two'"),
        (lambda c: c.update(checkpoint="elsewhere.pt"), "elsewhere.pt: missing"),
        (lambda c: c.update(num_enc_layers=2), "num_enc_layers is 2, but the checkpoint's is 3"),
    ],
)
def test_a_model_that_aedo_does_not_have_is_refused_by_name(
    folder: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    edit(folder, change)
    with pytest.raises(UserError) as error:
        verify(folder)
    assert said in str(error.value)


@pytest.mark.parametrize("name", ["inputs.npz", "outputs.npz", "config.json", "checkpoint.safetensors"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04broken", b"[1, 2]"])
def test_broken_files_are_named(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=name):
        verify(folder)


def test_pickled_arrays_are_not_loaded(folder: Path) -> None:
    np.savez(folder / "outputs.npz", enc=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UserError, match=r"outputs\.npz: not a readable"):
        verify(folder)


def test_dimensions_said_twice_must_agree(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="reading TensorFlow checkpoints needs tensorflow")
    shutil.copytree(FOLDER / "tf-import", tmp_path / "model")
    dims = json.loads((tmp_path / "model" / "dims.json").read_text())
    (tmp_path / "model" / "dims.json").write_text(json.dumps({**dims, "heads": 8}))
    with pytest.raises(UserError, match="heads is 8, but the checkpoint's is 4"):
        verify(tmp_path / "model")


def test_folders_of_another_form_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(UserError, match="not a folder"):
            verify(path)
