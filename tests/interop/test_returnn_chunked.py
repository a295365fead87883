"""Chunked models of the original become run folders, and go back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from aedo.errors import UserError
from aedo.interop.checkpoint_file import read_checkpoint
from aedo.interop.folder import assumptions, export_run, import_run
from aedo.interop.infer import Unseen, chunked_of, experiment_of
from aedo.run import RunFolder
from tests.interop.files import state_of, write_checkpoint

NAME = "chunked-aed"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("chunked")
    source = read_checkpoint(write_checkpoint(folder / "model.pt", NAME))
    return import_run(source, folder / "run", Unseen(24, streaming=chunked_of("5_3")))


def test_the_sizes_of_chunks_come_from_the_user_and_the_rest_from_the_file(run: RunFolder) -> None:
    experiment = run.experiment()
    assert experiment.streaming is not None
    assert experiment.streaming.model_dump() == {"kept": 5, "look_ahead": 3, "history": 2, "original": True}
    assert experiment.decoder is not None
    assert experiment.decoder.kind == "lstm"
    assert not experiment.decoder.weight_feedback
    assert not experiment.ctc.eos
    assert run.load_model("last").encoder_frames(torch.tensor([24000])).tolist() == [25]  # whole chunks


def test_heads_have_their_blank_behind_the_labels(run: RunFolder) -> None:
    theirs, ours = state_of(NAME)["enc_aux_logits_2.bias"], run.load_model("last").state_dict()["ctc_heads.2.bias"]
    assert (float(ours[-1]), float(ours[0])) == (float(theirs[0]), float(theirs[-1]))
    assert torch.equal(ours[1:-1], theirs[1:-1])


def test_export_gives_back_what_was_imported(run: RunFolder, tmp_path: Path) -> None:
    export_run(run, "last", tmp_path / "back.pt")
    exported, original = torch.load(tmp_path / "back.pt", weights_only=True)["model"], state_of(NAME)
    assert exported.keys() == original.keys()
    assert all(torch.equal(value, original[key]) for key, value in exported.items())


def test_chunks_of_our_own_kind_are_not_exported(run: RunFolder, tmp_path: Path) -> None:
    source = read_checkpoint(write_checkpoint(tmp_path / "model.pt", NAME))
    settings = ["encoder.streaming.original=false"]
    other = import_run(source, tmp_path / "run", Unseen(24, settings=settings, streaming=chunked_of("5_3")))
    with pytest.raises(UserError, match=r"encoder.streaming.original is false"):
        export_run(other, "last", tmp_path / "back.pt")


def test_an_import_that_may_be_of_chunks_says_what_it_took_it_for() -> None:
    whole = experiment_of(state_of(NAME), Unseen(24), "the file")
    assert "encoder.streaming = null" in assumptions(whole)


@pytest.mark.parametrize(("text", "expected"), [("5_3", (5, 3, 2)), ("10_5_4", (10, 5, 4)), ("20_0", (20, 0, 2))])
def test_chunks_as_the_command_line_names_them(text: str, expected: tuple[int, int, int]) -> None:
    chunked = chunked_of(text)
    assert chunked is not None
    assert (chunked.kept, chunked.look_ahead, chunked.history) == expected


@pytest.mark.parametrize("text", ["20", "a_b", "0_5", "1_2_3_4"])
def test_what_names_no_chunks_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=f"--chunked {text}: expected KEPT_AHEAD"):
        chunked_of(text)
