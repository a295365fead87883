"""Several ranks (gloo on the CPU): what they average, agree on and save."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from aedo.data.loader import Loader
from aedo.data.manifest import Manifest
from aedo.errors import UserError
from aedo.recipes.names import resolve
from aedo.run import RunFolder, read_jsonl
from aedo.schedule import START
from aedo.train import start
from aedo.train.distributed import ALONE, Ranks
from aedo.train.evaluate import evaluate, fixed_utterances
from aedo.train.launch import EXIT_LOST
from aedo.train.place import Place, find_place, first_host, local_device
from aedo.train.signals import EXIT_REQUEUE
from aedo.train.statistics import Counters, Tally
from aedo.train.trainer import Settings
from tests.train.micro import NAME, micro_experiment, write_data
from tests.train.ranks import CPU, Server, batch, step_of, without_randomness
from tests.train.test_kill import results
from tests.train.test_step import at

PLAIN = {"accumulate": 1, "gradients": {"clip_norm": 1.0}}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("ranks") / "data", train=14, dev=5)


@pytest.fixture(scope="module")
def trained(server: Server, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OUT of an uninterrupted training on two ranks."""
    out = tmp_path_factory.mktemp("trained")
    server.results("train", out, data=str(data))
    return out


def run_in(out: Path) -> RunFolder:
    (path,) = (path for path in out.iterdir() if path.is_dir())
    return RunFolder(path)


# Updates


def test_two_ranks_are_one_that_accumulates_two_micro_steps_and_divides(server: Server, tmp_path: Path) -> None:
    first, second = server.results("updates", tmp_path, train=PLAIN)
    config = {"accumulate": 2, "gradients": {"clip_norm": 1.0, "divide": True}}
    alone = step_of(without_randomness(**config), ALONE)
    norms = []
    for number in range(6):
        alone.micro_step(batch(number), at(number // 2))
        if alone.update_due(at(number // 2)):
            norms.append(alone.update(at(number // 2)).grad_norm)
    assert [update["grad_norm"] for update in first["updates"]] == pytest.approx(norms, rel=1e-4)
    for name, parameter in alone.model.named_parameters():
        assert torch.equal(first["parameters"][name], second["parameters"][name])
        if name.endswith("depthwise.bias"):  # in front of a BatchNorm: its gradient is rounding alone
            continue
        # Adam divides by the gradient's size: where that is a sum that cancels, its last bits decide about the step.
        torch.testing.assert_close(first["parameters"][name], parameter.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sync", [None, 100])
def test_a_loss_that_is_not_finite_on_one_rank_skips_the_update_of_all_and_names_its_utterances(
    server: Server, tmp_path: Path, sync: int | None
) -> None:
    train = {**PLAIN, "devices": 2, "sync_parameters": sync}
    for result in server.results("updates", tmp_path, train=train, micro_steps=1, spoilt=[0, 1]):
        assert result["updates"][0]["bad"] == [list(batch(1).ids)]
        assert result["unchanged"]


def test_a_rank_without_usable_utterances_counts_as_a_gradient_of_zero(server: Server, tmp_path: Path) -> None:
    first, second = server.results("updates", tmp_path, train=PLAIN, micro_steps=1, missed=[0, 1])
    alone = step_of(without_randomness(**PLAIN), ALONE)
    alone.micro_step(batch(0), at(0))
    norm = alone.update(at(0)).grad_norm
    assert first["updates"][0]["grad_norm"] == pytest.approx(norm / 2, rel=1e-4)
    assert all(torch.equal(value, second["parameters"][name]) for name, value in first["parameters"].items())


def test_parameters_are_averaged_after_every_nth_micro_step_of_a_sub_epoch_and_differ_in_between(
    server: Server, data: Path, tmp_path: Path
) -> None:
    train = {"sync_parameters": 3, "accumulate": 1, "epochs": 2, "average_fraction": 0.0}
    first, second = server.results("train", tmp_path, data=str(data), train=train)
    batches = len(first["parameters"]) // 2
    assert batches % 3, "counting goes anew in the second sub-epoch"
    assert len(first["averaged"]) == 2 * (batches // 3)
    means = [(a + b) / 2 for a, b in zip(first["averaged"], second["averaged"])]
    for number, (a, b) in enumerate(zip(first["parameters"], second["parameters"])):
        if (number % batches + 1) % 3 == 0:
            assert torch.equal(a, b)
            assert torch.equal(a, means.pop(0))
        else:
            assert not torch.equal(a, b)
    weights = run_in(tmp_path).load_model("last")
    assert torch.equal(torch.cat([p.detach().flatten() for p in weights.parameters()]), first["parameters"][-1])


def test_averaged_gradients_keep_all_ranks_alike(trained: Path) -> None:
    first, second = (torch.load(trained / f"rank{number}.pt", weights_only=True) for number in (0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first["parameters"], second["parameters"]))
    states = [torch.load(run_in(trained).checkpoint("last").state_of(n), weights_only=True) for n in (0, 1)]
    statistics = [state["kept_statistics"] for state in states]
    assert not all(torch.equal(a, b) for a, b in zip(*statistics)), "each rank has seen other batches"


# The whole training


def test_the_log_is_of_all_ranks(trained: Path, data: Path) -> None:
    run = run_in(trained)
    record = run.epochs()[0]
    train = Manifest.open(data, "train")
    assert record["devices"] == 2
    assert record["audio_seconds"] > 1.5 * train.num_samples.sum() / 16000, "each rank goes through the data"
    assert read_jsonl(run.path / "steps.jsonl")[0]["update"] == 1


def test_each_rank_evaluates_a_part_with_the_weights_of_the_first(trained: Path, data: Path) -> None:
    run = run_in(trained)
    experiment, manifest, record = run.experiment(), Manifest.open(data, "dev"), run.epochs()[-1]
    model = run.load_model("last")
    indices = fixed_utterances(len(manifest), experiment.train.eval_utterances)
    loader = Loader(
        manifest,
        run.tokenizer(),
        experiment.reading(),
        seed=1,
        frames=model.encoder_frames,
        training=False,
        indices=indices,
    )
    objective = experiment.loss.build(experiment.ctc)
    expected = evaluate(model, objective, loader, START, experiment.train, CPU, lambda: False)
    assert record["dev"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("train", [{}, {"sync_parameters": 3}])
def test_stopped_or_killed_at_any_time_the_training_goes_on_bit_for_bit(
    server: Server, data: Path, trained: Path, tmp_path: Path, train: dict[str, Any]
) -> None:
    if train:
        trained = tmp_path / "uninterrupted"
        server.results("train", trained, data=str(data), train=train)
    (tmp_path / "out").mkdir()
    scenario: dict[str, Any] = {"data": str(data), "train": train}
    for who, micro_step in ((None, 2), (1, 5)):  # all are asked to stop, or one of them
        stop = [who, micro_step, signal.SIGTERM]
        assert server.statuses("train", tmp_path / "out", signal=stop, **scenario) == [EXIT_REQUEUE] * 2
        newest = run_in(tmp_path / "out").resumable()
        assert newest is not None
        assert newest.label == f"step-{micro_step + 1:09d}"
    killed = server.statuses("train", tmp_path / "out", signal=[1, 9, signal.SIGKILL], save_minutes=1e-9, **scenario)
    assert killed == [EXIT_LOST, -signal.SIGKILL]
    server.results("train", tmp_path / "out", **scenario)
    assert results(tmp_path / "out") == results(trained)
    last = [
        torch.load(run_in(out).checkpoint("last").state_of(1), weights_only=True) for out in (tmp_path / "out", trained)
    ]
    assert all(torch.equal(a, b) for a, b in zip(*(state["model"].values() for state in last)))


def test_bad_utterances_of_any_rank_are_named_in_the_events(server: Server, data: Path, tmp_path: Path) -> None:
    part = write_data(tmp_path / "part", train=14, dev=5)
    (part / "train-003.flac").write_bytes(b"not audio")
    server.results("train", tmp_path / "out", data=str(part), train={"epochs": 1, "average_fraction": 0.0})
    run = run_in(tmp_path / "out")
    events = read_jsonl(run.path / "events.jsonl")
    assert {(event["id"], event["rank"]) for event in events} == {("train-003", 0), ("train-003", 1)}
    assert run.epochs()[0]["bad_utterances"] == 2


def test_the_number_of_processes_must_be_that_of_the_experiment(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"1 processes were started, but .* trains on 2 .*: start 2, or .*--devices 1"):
        start.train(NAME, micro_experiment(devices=2), data, tmp_path, CPU, Settings())


def test_averaging_the_parameters_of_one_device_is_refused() -> None:
    with pytest.raises(UserError, match=r"sync_parameters 100 averages .* several devices.*add mgpu2"):
        resolve("24gb-v6-pavg100")
    assert resolve("24gb-v6-pavg100-mgpu4").train.sync_parameters == 100
    assert resolve("24gb-v6-mgpu") == resolve("24gb-v6-mgpu2")


# Small parts


def test_random_numbers_of_the_ranks_differ_and_those_of_the_first_are_those_of_one_device() -> None:
    totals = []
    for ranks in (ALONE, Ranks(0, 2), Ranks(1, 2), Ranks(2, 3)):
        totals.append(float(step_of(micro_experiment(), ranks).micro_step(batch(0), at(0)).total.detach()))
    assert totals[0] == totals[1]
    assert len(set(totals)) == 3


def test_tallies_and_counters_of_several_ranks_are_those_of_their_batches_together() -> None:
    step = step_of(micro_experiment(), ALONE)
    losses = [step.micro_step(batch(number), at(number)) for number in range(3)]
    together, apart = Tally(finite_only=True), [Tally(finite_only=True), Tally(finite_only=True)]
    for number, each in enumerate(losses):
        together.add(each)
        apart[number % 2].add(each)
    merged = Tally.merged([tally.state() for tally in (*apart, Tally(finite_only=True))])
    assert merged.means() == pytest.approx(together.means())
    one, other = Counters(samples=3, updates=2, grad_norm=4.0), Counters(samples=5, updates=2, grad_norm=2.0)
    assert Counters.merged([one.state(), other.state()]) == Counters(samples=8, updates=2, grad_norm=3.0)
    assert Counters.merged([one.state()]) == one


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({}, None),
        ({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}, Place(3, 4, 1, 2, "torchrun")),
        ({"RANK": "1", "WORLD_SIZE": "2", "AEDO_LAUNCHER": "7"}, Place(1, 2, 1, 2, "aedo")),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_LOCALID": "1"}, Place(1, 2, 1, 2, "Slurm")),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "2", "SLURM_LOCALID": "0", "SLURM_JOB_ID": "5"}, None),
        (
            {
                **{"SLURM_PROCID": "5", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "5"},
                **{"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_TASKS_PER_NODE": "4(x2)"},
            },
            Place(5, 8, 1, 4, "Slurm"),
        ),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_LOCALID": "0", "SLURM_STEP_ID": "0"}, None),
    ],
    ids=["none", "torchrun", "ours", "Slurm", "batch script", "Slurm, two machines", "one task"],
)
def test_the_place_is_what_the_launcher_says(environment: dict[str, str], place: Place | None) -> None:
    assert find_place(environment) == place


def test_a_broken_environment_is_refused() -> None:
    with pytest.raises(UserError, match="environment of the launcher is broken"):
        find_place({"RANK": "one", "WORLD_SIZE": "2"})


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("gpu3", "gpu3"),
        ("gpu3,gpu4", "gpu3"),
        ("node[01-04,07],gpu3", "node01"),
        ("rack[2,5]-node[3-4].site", "rack2-node3.site"),
    ],
)
def test_the_first_host_of_slurms_list(nodes: str, host: str) -> None:
    assert first_host(nodes) == host


def test_every_process_has_a_gpu_of_its_own_or_there_are_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert local_device(CPU, 1, 4) == CPU
    assert local_device(cuda, 1, 2) == torch.device("cuda", 1)
    assert local_device(torch.device("cuda:1"), 0, 1) == torch.device("cuda:1")
    with pytest.raises(UserError, match=r"3 devices wanted, 2 GPUs here: use fewer"):
        local_device(cuda, 0, 3)
    with pytest.raises(UserError, match="cannot share one GPU; use --device cuda"):
        local_device(torch.device("cuda:1"), 0, 2)
