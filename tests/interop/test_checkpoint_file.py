"""Damaged, foreign and hostile checkpoint files."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from aedo.errors import UserError
from aedo.interop import checkpoint_file
from aedo.interop.checkpoint_file import read_checkpoint
from tests.interop.files import state_of, write_checkpoint


class Runs:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def refused(path: Path, message: str) -> str:
    with pytest.raises(UserError, match=message) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def test_a_checkpoint_is_read_with_its_position(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(write_checkpoint(tmp_path / "a.pt"))
    assert (checkpoint.epoch, checkpoint.step) == (7, 12345)
    assert checkpoint.state.keys() == state_of("base").keys()


def test_a_bare_state_dict_will_do(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(saved(tmp_path / "a.pt", state_of("base")))
    assert (checkpoint.epoch, checkpoint.step, len(checkpoint.state)) == (0, 0, len(state_of("base")))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_point_types_become_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(saved(tmp_path / "a.pt", {"model": {"w": torch.ones(3, dtype=dtype)}}))
    assert checkpoint.state["w"].dtype == torch.float32


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    for content in (Runs(trap), {"model": {"w": torch.ones(1)}, "epoch": Runs(trap)}):
        refused(saved(tmp_path / "a.pt", content), r"wants to run or build \S*mkdir")
    (tmp_path / "b.pt").write_bytes(pickle.dumps(Runs(trap)))
    refused(tmp_path / "b.pt", "not a PyTorch checkpoint")
    torch.save(Runs(trap), tmp_path / "c.pt", _use_new_zipfile_serialization=False)
    refused(tmp_path / "c.pt", "not a PyTorch checkpoint")
    assert not trap.exists()


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = write_checkpoint(tmp_path / "a.pt").read_bytes()
    for share in (0.0, 0.01, 0.3, 0.7, 0.99, 0.9999):
        (tmp_path / "b.pt").write_bytes(whole[: int(share * len(whole))])
        refused(tmp_path / "b.pt", "not a PyTorch checkpoint, or a truncated one")


def test_a_file_with_a_changed_byte_is_refused(tmp_path: Path) -> None:
    content = bytearray(write_checkpoint(tmp_path / "a.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "b.pt").write_bytes(content)
    refused(tmp_path / "b.pt", "damaged: .* does not match its checksum")


def test_other_files_are_refused(tmp_path: Path) -> None:
    refused(tmp_path / "none.pt", "no such file")
    refused(tmp_path, "a folder")
    (tmp_path / "a.pt").write_text("version https://git-lfs.github.com/spec/v1\n")
    refused(tmp_path / "a.pt", "not a PyTorch checkpoint")
    with zipfile.ZipFile(tmp_path / "b.pt", "w") as archive:
        archive.writestr("hello.txt", "hello")
    refused(tmp_path / "b.pt", "not a readable PyTorch checkpoint")


def test_an_archive_that_grows_when_unpacked_is_refused(tmp_path: Path) -> None:
    packed = io.BytesIO(write_checkpoint(tmp_path / "a.pt", model={"w": torch.zeros(100_000)}).read_bytes())
    with zipfile.ZipFile(packed) as old, zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    refused(tmp_path / "b.pt", "larger than the file itself")


def test_an_archive_of_very_many_entries_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_file, "MOST_ENTRIES", 20)
    refused(write_checkpoint(tmp_path / "a.pt"), "entries inside: not a checkpoint")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list"),
        ({"model": 3}, "no state dict"),
        ({"model": {}}, "no state dict"),
        ({"model": {"w": 3}}, "w: a int, not a tensor"),
        ({"model": {3: torch.ones(1)}}, "3: not a parameter's name"),
        ({"model": {"x" * 5000: torch.ones(1)}}, "not a parameter's name"),
        ({"model": {"w": torch.ones(2, dtype=torch.int64)}}, "w: of type int64"),
        ({"model": {"w": torch.ones(2, dtype=torch.complex64)}}, "w: of type complex64"),
        ({"model": {"w": torch.tensor([1.0, float("nan")])}}, "w: has values that are not finite"),
        ({"model": {"w": torch.ones(2, 2).to_sparse()}}, "not a plain dense tensor|not a readable"),
        ({"model": {"w": torch.empty(2, device="meta")}}, "not a plain dense tensor"),
        ({"model": {"w": torch.ones(1).expand(1 << 40)}}, "w: larger than the data stored for it"),
        ({"model": {"w": torch.ones(1)}, "epoch": "seven"}, "epoch is 'seven', expected a whole number"),
        ({"model": {"w": torch.ones(1)}, "step": -3}, "step is -3"),
        ({"model": {"w": torch.ones(1)}, "step": 1 << 80}, "step is"),
    ],
)
def test_contents_that_are_no_state_dict_are_refused(content: Any, message: str, tmp_path: Path) -> None:
    assert len(refused(saved(tmp_path / "a.pt", content), message)) < 2000


def test_many_parameters_over_the_same_data_are_refused(tmp_path: Path) -> None:
    data = torch.ones(10_000)
    content = {"model": {f"w{number}": data for number in range(100)}}
    refused(saved(tmp_path / "a.pt", content), "they overlap")


def test_a_message_about_very_many_names_stays_short(tmp_path: Path) -> None:
    content = {"model": dict.fromkeys((f"\x1b[2J{number}" for number in range(1000)), 3)}
    message = refused(saved(tmp_path / "a.pt", content), "and 980 more")
    assert "\x1b" not in message
    assert len(message) < 3000
