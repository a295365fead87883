from __future__ import annotations

from pathlib import Path

import pytest

from aedo.data.corpora.listing import Item
from aedo.data.splits import hold_out_fraction, hold_out_speakers
from aedo.errors import UserError


def items(*speakers: str, split: str = "train", each: int = 2) -> list[Item]:
    return [Item(f"{s}-{i}", Path("x.wav"), "x", s, split) for s in speakers for i in range(each)]


@pytest.mark.parametrize(
    ("option", "expected"),
    [("2", {"a", "c"}), ("1", {"c"}), ("a,c", {"a", "c"}), ("19,", {"19"})],
)
def test_the_last_speakers_in_sorted_order_or_the_named_ones_are_dev(option: str, expected: set[str]) -> None:
    everything = items("c", "19", "100", "a")
    result = hold_out_speakers(everything, option)
    assert {i.speaker for i in result if i.split == "dev"} == expected
    assert [i._replace(split="train") for i in result] == everything


def test_other_splits_stay() -> None:
    everything = items("a", "b") + items("z", split="test")
    assert [i.split for i in hold_out_speakers(everything, "1")] == ["train", "train", "dev", "dev", "test", "test"]


def test_speakers_of_all_training_parts_count() -> None:
    everything = items("a", split="train-clean-100") + items("b", split="train-clean-360")
    assert {i.speaker for i in hold_out_speakers(everything, "1") if i.split == "dev"} == {"b"}


@pytest.mark.parametrize("split", ["dev", "dev-clean"])
def test_a_corpus_with_its_own_dev_needs_no_other(split: str) -> None:
    everything = items("a", "b") + items("z", split=split)
    with pytest.raises(UserError, match=f"own development split '{split}'"):
        hold_out_speakers(everything, "1")
    with pytest.raises(UserError, match=f"own development split '{split}'"):
        hold_out_fraction(everything, 0.5)


def test_all_speakers_cannot_be_held_out() -> None:
    with pytest.raises(UserError, match="nothing would be left to train on"):
        hold_out_speakers(items("a", "b"), "a,b")


def test_a_fraction_does_not_depend_on_the_order() -> None:
    everything = items("a", "b", "c", each=10)
    chosen = {i.id for i in hold_out_fraction(everything, 0.2) if i.split == "dev"}
    assert len(chosen) == 6
    assert chosen == {i.id for i in hold_out_fraction(everything[::-1], 0.2) if i.split == "dev"}
