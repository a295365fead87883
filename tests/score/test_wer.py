"""Counts, alignments, confusions."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aedo.errors import UserError
from aedo.score.tables import aligned_text, table
from aedo.score.wer import Confusion, Counts, Pair, align, compare, count, score

words = st.lists(st.sampled_from("abcd"), max_size=9)


def levenshtein(ref: Sequence[str], hyp: Sequence[str]) -> int:
    row = list(range(len(hyp) + 1))
    for i, a in enumerate(ref, 1):
        before, row = row, [i]
        for j, b in enumerate(hyp, 1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b)))
    return row[-1]


@given(words, words)
def test_alignment_is_complete_and_has_the_fewest_errors(ref: list[str], hyp: list[str]) -> None:
    alignment = align(ref, hyp)
    assert [a for a, _ in alignment if a] == ref
    assert [b for _, b in alignment if b] == hyp
    counts = count(alignment)
    assert counts.errors == levenshtein(ref, hyp)
    assert counts.words == len(ref)
    assert len(ref) - counts.deletions + counts.insertions == len(hyp)
    assert count(align(ref, hyp, sclite=True)).errors >= counts.errors


def test_kinds_of_errors_are_told_apart() -> None:
    assert count(align(["a", "b", "c", "d"], ["a", "x", "c", "d", "e"])) == Counts(4, 1, 0, 1)
    assert count(align(["a", "b", "c"], ["b", "c"])) == Counts(3, 0, 1, 0)
    assert count(align([], ["a"])) == Counts(0, 0, 0, 1)


def test_sclite_prefers_other_ties() -> None:
    """Two substitutions (8) cost more than an insertion and a deletion (6) around a match."""
    ref, hyp = ["a", "b"], ["b", "c"]
    assert count(align(ref, hyp, sclite=True)) == Counts(2, 0, 1, 1)


def test_totals_are_sums_over_utterances_not_means() -> None:
    found = score([Pair("1", "x", "a", "b"), Pair("2", "x", "a b c d e f g h i", "a b c d e f g h i")])
    assert found.wer == pytest.approx(10.0)
    assert found.sentence_errors == 1


def test_speakers_and_confusions_are_counted() -> None:
    found = score(
        [Pair("1", "x", "the cat", "the cut"), Pair("2", "y", "cat so a", "cut so"), Pair("3", "x", "dog", "dog dog")]
    )
    assert found.speakers == {"x": Counts(3, 1, 0, 1), "y": Counts(3, 1, 1, 0)}
    assert found.confusions() == [Confusion("cat", "cut", 2), Confusion("", "dog", 1), Confusion("a", "", 1)]
    assert [u.pair.id for u in found.worst(2)] == ["2", "3"]


def test_rate_without_reference_words_is_infinite_only_with_errors() -> None:
    assert Counts().wer == 0.0
    assert Counts(insertions=1).wer == float("inf")


def test_nothing_to_score_and_doubled_utterances_are_refused() -> None:
    with pytest.raises(UserError, match="the references have no words"):
        score([Pair("1", "", "", "a")])
    with pytest.raises(UserError, match="utterance 1 comes twice"):
        score([Pair("1", "", "a", "a"), Pair("1", "", "a", "a")])


def test_systems_on_other_references_are_not_compared() -> None:
    first = score([Pair("1", "", "a", "a"), Pair("2", "", "b", "b")])
    with pytest.raises(UserError, match="2 and 1 utterances, 1 in common"):
        compare(first, score([Pair("1", "", "a", "x")]))
    with pytest.raises(UserError, match="2 and 2 utterances, 1 in common"):
        compare(first, score([Pair("1", "", "a", "a"), Pair("2", "", "c", "c")]))


def test_aligned_text_puts_words_under_words() -> None:
    (utterance,) = score([Pair("u", "s", "one two 三 four", "one to four five")]).utterances
    head, ref, hyp, marks = aligned_text(utterance).split("\n")
    assert head == "u (speaker s): 3 errors in 4 words, S 1 D 1 I 1"
    assert ref == "REF: one two 三 four ****"
    assert hyp == "HYP: one to  ** four five"
    assert marks == "         S   D       I"


def test_table_columns_line_up() -> None:
    assert table(("name", "n"), [("a", "10"), ("bcdef", "5")]) == "name    n\n-----  --\na      10\nbcdef   5"
