"""Starting a training, and going on with one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from aedo.data.loader import Loaded, Loader
from aedo.errors import UserError
from aedo.experiment import Experiment
from aedo.nn.precision import EMULATED
from aedo.run import RunFolder, read_jsonl
from aedo.train import start
from aedo.train.step import Step
from aedo.train.trainer import Settings
from tests.train.micro import NAME, micro_experiment, write_data

ONE = micro_experiment(epochs=1, average_fraction=0.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("start") / "data")


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the finished training of ONE; copy it before changing it."""
    return train(data, tmp_path_factory.mktemp("trained")).path


def train(data: Path, out: Path, experiment: Experiment = ONE) -> RunFolder:
    run, finished = start.train(NAME, experiment, data, out, torch.device("cpu"), Settings(log_every=1))
    assert finished
    return run


def copied(trained: Path, out: Path) -> RunFolder:
    return RunFolder(Path(shutil.copytree(trained, out / trained.name)))


def test_the_run_folder_holds_all_that_rebuilds_the_model(trained: Path) -> None:
    run = RunFolder.open(trained)
    assert (run.name, run.experiment()) == (NAME, ONE)
    assert trained.name == f"{NAME}-{ONE.digest()}"
    model = run.load_model("last")
    assert not model.training
    assert run.vocabulary == run.tokenizer().size
    tokens = run.tokenizer().encode("bad")
    assert run.tokenizer().decode(tokens) == "bad"


def test_the_record_of_the_run_tells_command_code_machine_and_data(trained: Path, data: Path) -> None:
    info = RunFolder(trained).info
    assert info["data"] == str(data)
    assert info["utterances"] == {"train": 9, "dev": 4}
    assert info["parameters"] == sum(p.numel() for p in RunFolder(trained).load_model("last").parameters())
    assert info["seed"] == 1
    assert info["command"]
    assert info["versions"]["torch"] == torch.__version__
    assert info["machine"]["threads"] == torch.get_num_threads()
    assert len(info["starts"]) == 1


@pytest.mark.parametrize("emulated", [False, True])
def test_a_training_says_and_records_what_it_computes_in(
    emulated: bool, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("aedo.train.precision.emulates_bfloat16", lambda device: emulated)
    run = train(data, tmp_path, ONE.with_("train.precision", "bfloat16"))
    assert run.experiment().train.precision == "bfloat16"
    assert run.info["starts"][0]["precision"] == ("float32" if emulated else "bfloat16")
    assert (EMULATED in capsys.readouterr().out) is emulated


def test_the_log_has_every_field(trained: Path) -> None:
    (line,) = RunFolder(trained).epochs()
    assert set(line) == {
        *("epoch", "devices", "micro_step", "update", "lr", "seconds", "audio_seconds", "padding", "wait", "grad_norm"),
        *("clipped", "skipped_steps", "bad_utterances", "train", "dev", "devtrain"),
    }
    for part in ("train", "dev", "devtrain"):
        assert set(line[part]) == {"ce", "ler", "ctc_1", "ctc_2"}
    step = read_jsonl(trained / "steps.jsonl")[0]
    assert set(step) == {"micro_step", "update", "epoch", "lr", "grad_norm", "total", "ce", "ler", "ctc_1", "ctc_2"}


def test_a_finished_training_is_left_as_it_is(trained: Path, data: Path, tmp_path: Path) -> None:
    run = copied(trained, tmp_path)
    before = run.checkpoint("last").weights.read_bytes()
    train(data, tmp_path)
    assert run.checkpoint("last").weights.read_bytes() == before
    assert len(run.epochs()) == 1
    assert len(run.info["starts"]) == 2


def test_the_data_may_move_but_not_change(trained: Path, data: Path, tmp_path: Path) -> None:
    run = copied(trained, tmp_path)
    moved = Path(shutil.copytree(data, tmp_path / "moved"))
    train(moved, tmp_path)
    assert run.info["data"] == str(moved)
    other = write_data(tmp_path / "other", seed=1)
    with pytest.raises(UserError, match=r"not the data this training began with .*give another --out"):
        train(other, tmp_path)


def test_another_experiment_in_the_folder_is_refused(trained: Path, data: Path, tmp_path: Path) -> None:
    run = copied(trained, tmp_path)
    tree = json.loads((run.path / "experiment.json").read_text())
    tree["experiment"]["train"]["seed"] = 7
    (run.path / "experiment.json").write_text(json.dumps(tree))
    with pytest.raises(UserError, match="another experiment was trained here"):
        train(data, tmp_path)


def test_another_tokenizer_in_the_folder_is_refused(trained: Path, data: Path, tmp_path: Path) -> None:
    run = copied(trained, tmp_path)
    info = run.info
    run.write_info({**info, "tokenizer_digest": "0" * 16})
    with pytest.raises(UserError, match="not the tokenizer this training began with"):
        train(data, tmp_path)


def test_a_second_training_in_the_same_folder_is_refused(trained: Path, data: Path, tmp_path: Path) -> None:
    """Also while nothing but the lock's owner is left of the first one's start; a dead owner holds nothing."""
    run = copied(trained, tmp_path)
    hold = f"from aedo.run import RunFolder; from pathlib import Path; import time\nwith RunFolder(Path({str(run.path)!r})).lock():\n print('held', flush=True); time.sleep(60)"  # noqa: E501
    owner = subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE)
    try:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match=rf"another training is running here \(process {owner.pid} on"):
            train(data, tmp_path)
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    train(data, tmp_path)


def test_a_place_that_cannot_hold_a_run_is_refused_before_anything_is_done(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file.*: cannot use this run folder: Not a directory; choose a folder"):
        train(data, tmp_path / "file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_place_is_refused_before_anything_is_done(data: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="Permission denied; make the folder writable or choose another one"):
        train(data, tmp_path / "out")


def test_a_disk_without_room_for_two_checkpoints_is_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 10**3))  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"0\.00 GB free, but two checkpoints with the optimizer's state need"):
        train(data, tmp_path)


def test_data_without_a_split_says_which_one(data: Path, tmp_path: Path) -> None:
    part = Path(shutil.copytree(data, tmp_path / "part"))
    (part / "dev.jsonl").unlink()
    with pytest.raises(UserError, match="dev"):
        train(part, tmp_path)


def test_a_broken_state_says_what_to_remove(trained: Path, data: Path, tmp_path: Path) -> None:
    run = copied(trained, tmp_path)
    state = run.checkpoint("last").state
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"not a readable training state .*remove .*epoch-0001 to go on from an older"):
        train(data, tmp_path)


def test_too_many_bad_steps_in_a_row_stop_the_run_and_leave_the_last_checkpoint_intact(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = micro_experiment(epochs=2, accumulate=1, max_bad_steps=1)
    micro_step, calls = Step.micro_step, 0

    def spoilt(step: Step, batch: Any, progress: Any) -> Any:
        nonlocal calls
        calls += 1
        if progress.epoch >= 1 or calls == 1:  # one at the very start, and all of the second sub-epoch
            batch.audio[0] = float("nan")
        return micro_step(step, batch, progress)

    monkeypatch.setattr(Step, "micro_step", spoilt)
    message = r"2 micro-steps in a row .*max_bad_steps 1\); checkpoint epoch-0001 is intact; .*events.jsonl"
    with pytest.raises(UserError, match=message):
        train(data, tmp_path, experiment)
    run = RunFolder(RunFolder.place(tmp_path, NAME, experiment))
    (line,) = run.epochs()
    assert line["skipped_steps"] == 1
    events = read_jsonl(run.path / "events.jsonl")
    assert [event["kind"] for event in events] == ["skipped_step"] * 3
    assert all(event["ids"] and event["ids"][0].startswith("train-") for event in events)
    monkeypatch.undo()
    train(data, tmp_path, experiment)
    assert [line["epoch"] for line in run.epochs()] == [1, 2]


def test_what_was_trained_is_saved_when_the_data_fail(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = Loader.batches

    def failing(loader: Loader, *where: Any) -> Iterator[Loaded]:
        for number, loaded in enumerate(batches(loader, *where)):
            if number == 1:
                raise UserError("a worker ended unexpectedly")
            yield loaded

    monkeypatch.setattr(Loader, "batches", failing)
    with pytest.raises(UserError, match="a worker ended unexpectedly"):
        train(data, tmp_path)
    newest = RunFolder(RunFolder.place(tmp_path, NAME, ONE)).resumable()
    assert newest is not None
    assert newest.label == "step-000000001"


def test_a_device_out_of_memory_says_what_to_change(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(step: Step, batch: Any, progress: Any) -> Any:
        raise torch.OutOfMemoryError("tried to allocate 1 GiB")

    monkeypatch.setattr(Step, "micro_step", full)
    with pytest.raises(UserError, match=r"cpu: out of memory with a batch of \d x \d+ samples: use a smaller batch"):
        train(data, tmp_path)


def test_utterances_left_out_are_counted_and_named(data: Path, tmp_path: Path) -> None:
    part = Path(shutil.copytree(data, tmp_path / "part"))
    (part / "train-000.flac").write_bytes(b"not audio")
    lines = (part / "train.jsonl").read_text().replace(str(data), str(part))
    (part / "train.jsonl").write_text(lines)
    experiment = ONE.with_("loader.max_bad_fraction", 0.5)
    run = train(part, tmp_path, experiment)
    (line,) = run.epochs()
    assert line["bad_utterances"] == 1
    (event,) = read_jsonl(run.path / "events.jsonl")
    assert (event["kind"], event["id"]) == ("bad_utterance", "train-000")
    assert event["reason"]


def test_going_on_with_another_number_of_threads_is_noted(
    trained: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied(trained, tmp_path)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(before + 1)
        train(data, tmp_path)
    finally:
        torch.set_num_threads(before)
    assert f"note: trained with {before} threads so far, now with {before + 1}" in capsys.readouterr().out
