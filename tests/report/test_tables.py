import json

import numpy as np
import soundfile

from aedo.report.clips import LONGEST, Budget, clip
from aedo.report.gather import gather
from aedo.report.tables import details, for_pictures, frequent_errors, hardest_speakers, wer_table, worst
from tests.report.runs import dump


def test_word_error_rates_stand_beside_the_reference_where_names_match(finished):
    table = wer_table(gather(finished))
    assert [label for label, _ in table.rows] == ["epoch-0012", "average-last10pct"]
    assert {name: cell.wer for name, cell in table.reference.items()} == {"dev-clean": 2.27}
    cells = table.rows[1][1]
    assert cells["test"].best
    assert cells["test"].low < cells["test"].wer < cells["test"].high


def test_totals_without_interval_get_one_from_the_utterances(run):
    path = run / "recog" / "epoch-0012" / "test.json"
    totals = json.loads(path.read_text())
    dump(path, {key: value for key, value in totals.items() if not key.startswith("wer_")})
    cell = wer_table(gather(run)).rows[0][1]["test"]
    assert (cell.low, cell.high) == (totals["wer_low"], totals["wer_high"])


def test_errors_are_counted_by_kind_over_all_sets(finished):
    errors = frequent_errors(gather(finished))
    assert [(c.ref, c.hyp, c.count) for c in errors.confusions] == [("EIGHT", "ATE", 8), ("THE", "A", 8)]
    assert [(c.ref, c.count) for c in errors.deletions] == [("TEN", 8), ("YES", 8)]
    assert [(c.hyp, c.count) for c in errors.insertions] == [("GO", 8), ("ON", 8)]


def test_rates_by_kind_add_up_to_the_error_rate(finished):
    for detail in details(gather(finished)):
        assert abs(sum(detail.rates.values()) - detail.totals["wer"]) < 1e-9
        assert detail.speed == 18.0


def test_speakers_come_worst_first(finished):
    rates = [speaker.wer for speaker in hardest_speakers(gather(finished))]
    assert rates == sorted(rates, reverse=True)
    assert len(rates) == 6


def test_worst_utterances_carry_their_alignment_and_audio(finished):
    run = gather(finished)
    shown = worst(run.result(run.main_label, "test"), 3, Budget(10))
    assert [u.aligned.counts.errors for u in shown] == [2, 2, 2]
    assert ("ok", "GO", "GO") in shown[0].pairs
    assert [kind for kind, _, _ in shown[0].pairs].count("ins") == 2
    assert shown[0].clip.uri.startswith("data:audio/flac;base64,")


def test_pictures_show_one_right_utterance_then_the_worst_of_each_set(finished):
    run = gather(finished)
    lines = for_pictures([r for r in run.results if r.label == run.main_label], 3)
    assert lines[0]["ref"] == lines[0]["hyp"]
    assert [line["id"].rsplit("-", 1)[0] for line in lines[1:]] == ["dev-clean", "test"]


def test_missing_audio_says_so(finished):
    assert clip({"audio": "/nowhere/a.wav"}, Budget(1)).note == "no audio: audio file is missing"
    assert clip({}, Budget(1)).note == "no audio: the results name no audio file"


def test_audio_beyond_the_limit_of_the_page_is_left_out(finished):
    line = next(iter(gather(finished).results[0].lines.values()))
    budget = Budget(0.02)
    clips = [clip(line, budget) for _ in range(20)]
    assert clips[-1].uri is None
    assert "--audio-mb" in clips[-1].note
    assert sum(len(c.uri or "") for c in clips) <= 20_100


def test_a_long_clip_is_cut(tmp_path):
    noise = np.random.default_rng(0).normal(size=16000 * 25).astype(np.float32) * 0.1
    soundfile.write(tmp_path / "long.wav", noise, 16000)
    assert clip({"audio": str(tmp_path / "long.wav")}, Budget(5)).note == f"first {LONGEST:g} s"


def test_a_piece_of_a_longer_recording_is_not_played_as_if_it_were_the_whole(tmp_path):
    soundfile.write(tmp_path / "long.wav", np.full(48000, 0.1, np.float32), 16000)
    assert "is a part of" in clip({"audio": str(tmp_path / "long.wav"), "duration": 1.0}, Budget(5)).note
