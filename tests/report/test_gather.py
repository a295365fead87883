import json
import shutil

import pytest

import aedo.report.gather
from aedo.errors import UserError
from aedo.report.gather import flatten, gather
from tests.report.runs import dump, epoch, write_lines


def test_a_finished_run_is_read_without_notices(finished):
    run = gather(finished)
    assert run.notices == []
    assert (run.name, len(run.epochs), run.sets) == ("tiny", 12, ["dev-clean", "test"])
    assert run.labels == ["epoch-0012", "average-last10pct"]
    assert run.terms == ["ce", "ctc_2", "ler"]


def test_the_checkpoint_with_the_fewest_dev_errors_is_shown(finished):
    assert gather(finished).main_label == "average-last10pct"


def test_test_sets_do_not_choose_the_checkpoint(run):
    for folder in (run / "recog").iterdir():
        path = folder / "test.json"
        dump(path, {**json.loads(path.read_text()), "substitutions": 0 if folder.name == "epoch-0012" else 70})
    assert gather(run).main_label == "average-last10pct"


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="not a run folder"):
        gather(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"name": 3}'])
def test_a_damaged_experiment_is_refused_by_file_name(run, content):
    (run / "experiment.json").write_text(content)
    with pytest.raises(UserError, match=r"experiment\.json"):
        gather(run)


def test_broken_log_lines_are_left_out_and_named(run):
    text = (run / "log.jsonl").read_text().splitlines(keepends=True)
    (run / "log.jsonl").write_text("".join([*text[:3], "{broken\n", "7\n", *text[3:]]))
    found = gather(run)
    assert len(found.epochs) == 12
    assert found.notices == [f"{run / 'log.jsonl'}:4: not a valid line and 1 more; left out of this page"]


def test_a_last_line_that_is_being_written_is_no_damage(run):
    with open(run / "log.jsonl", "a") as file:
        file.write('{"epoch": 13, "mic')
    assert gather(run).notices == []


def test_a_repeated_sub_epoch_counts_once_with_its_last_values(run):
    write_lines(run / "log.jsonl", [epoch(1), epoch(2), {**epoch(2), "lr": 7.0}])
    assert gather(run).scalars("lr") == [(1.0, 0.00025), (2.0, 7.0)]


def test_missing_parts_become_notices(run):
    shutil.rmtree(run / "recog")
    for name in ("log.jsonl", "run.json", "steps.jsonl"):
        (run / name).unlink()
    notices = " ".join(gather(run).notices)
    assert "run.json" in notices
    assert "no finished sub-epoch yet" in notices
    assert "nothing recognised yet" in notices


def test_missing_totals_are_computed_from_the_utterances(run):
    path = run / "recog" / "epoch-0012" / "test.json"
    expected = json.loads(path.read_text())
    path.unlink()
    found = gather(run)
    result = found.result("epoch-0012", "test")
    assert result.totals.items() <= expected.items()
    assert found.notices == [f"{path}: missing; totals are computed from the utterances"]


def test_unusable_audio_is_noticed(run):
    path = run / "recog" / "epoch-0012" / "test.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[2]["problem"] = "audio is silent"
    write_lines(path, lines)
    assert gather(run).notices == [f"{path}: 1 without usable audio count as deleted, test-2: audio is silent"]


def test_flatten_keeps_lists_whole():
    assert flatten({"a": {"b": 1, "c": [1, {"d": 2}]}, "e": None}) == {"a.b": 1, "a.c": [1, {"d": 2}], "e": None}


def test_of_a_very_long_step_log_only_every_nth_line_is_read(run, monkeypatch):
    size = (run / "steps.jsonl").stat().st_size
    monkeypatch.setattr(aedo.report.gather, "_STEPS_BYTES", size // 2)
    assert [step["micro_step"] for step in gather(run).steps[:3]] == [0, 3, 6]


def test_results_of_another_search_know_their_checkpoint(run):
    (run / "recog" / "epoch-0012").rename(run / "recog" / "epoch-0012+beam4")
    found = {result.label: result.checkpoint for result in gather(run).results}
    assert found == {"epoch-0012+beam4": "epoch-0012", "average-last10pct": "average-last10pct"}
