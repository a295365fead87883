"""Every tag: what it sets; and that tags combine in any order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aedo.experiment import Experiment
from aedo.recipes.bases import BASES
from aedo.recipes.catalogue import STAGES
from aedo.recipes.names import analyse, resolve
from aedo.recipes.parse import find_tag, spelled
from aedo.recipes.registry import TAGS, application_order
from aedo.recipes.trees import leaves
from tests.recipes.tags import all_spelled

SPELLED = all_spelled()


def with_tag(base: str, text: str) -> Experiment:
    """`text` on a base, or behind a name with tags whose effect `text` changes or takes back."""
    if base in BASES:
        return resolve(f"{base}-{text}")
    return spelled(text, text).apply(resolve(base))


@pytest.mark.parametrize("text", SPELLED)
def test_a_tag_sets_what_it_says(text: str) -> None:
    base, expected = SPELLED[text]
    values = leaves(with_tag(base, text))
    assert {path: values[path] for path in expected} == expected


def test_every_tag_is_in_a_table() -> None:
    assert {find_tag(text) for text in SPELLED} == set(TAGS.values())  # type: ignore[comparison-overlap]


@pytest.mark.parametrize("text", SPELLED)
def test_a_spelling_belongs_to_one_tag(text: str) -> None:
    owners = [name for name, tag in TAGS.items() if any(pattern.match(text) is not None for pattern in tag.patterns)]
    assert len(owners) == 1


@pytest.mark.parametrize("tag", TAGS.values(), ids=TAGS)
def test_every_tag_is_explained(tag: Any) -> None:
    assert len(tag.summary) > 15
    assert tag.summary[0].isupper()
    assert tag.stage in STAGES
    assert all(set(pattern.types) for pattern in tag.patterns if "{" in pattern.spelling)
    numeric = [name for pattern in tag.patterns for name in pattern.types]
    assert all(any(name in pattern.ranges for pattern in tag.patterns) for name in numeric), "a value without a range"


def test_tags_come_behind_those_they_read() -> None:
    order = application_order()
    assert sorted(order) == sorted(TAGS)
    for name, tag in TAGS.items():
        assert all(order.index(earlier) < order.index(name) for earlier in tag.after)


PLAIN = [
    text
    for text, (base, _) in SPELLED.items()
    for tag in [find_tag(text)]
    if base == "24gb-v6" and tag and not tag.after and not tag.last and text != "auxscale01_02"  # which wants two heads
]
UNFIT = ({"accdiv", "lossnorm_acc"}, {"specauglen", "specaugespnet"}, {"char", "bpesample001"})
"""Refused together: one of them would be of no use, or nothing to work on."""
ALONE = {text: analyse(f"24gb-v6-{text}") for text in PLAIN}


@st.composite
def independent_tags(draw: st.DrawFn) -> list[str]:
    """Tags no two of which set the same field, in random order."""
    chosen: list[str] = []
    taken: set[str] = set()
    for text in draw(st.lists(st.sampled_from(PLAIN), unique=True, max_size=12)):
        fields = set(ALONE[text].setters)
        # A setting of a search may be of no use in another kind of search.
        of_search = [field for field in taken | fields if field.startswith("search.")]
        if len(of_search) > 1 and "search.kind" in of_search:
            continue
        if not taken & fields and not any(pair <= {*chosen, text} for pair in UNFIT):
            chosen.append(text)
            taken |= fields
    return chosen


@settings(deadline=None, max_examples=60)
@given(independent_tags(), st.randoms(use_true_random=False))
def test_independent_tags_combine_to_the_sum_of_their_effects(tags: list[str], random: Any) -> None:
    resolved = analyse("-".join(["24gb-v6", *tags]))
    expected = leaves(resolve("24gb-v6"))
    for text in tags:
        alone = leaves(ALONE[text].experiment)
        for path in ALONE[text].setters:
            expected.pop(path, None)
            if path in alone:
                expected[path] = alone[path]
    assert leaves(resolved.experiment) == expected
    assert resolved.setters == {path: text for text in tags for path in ALONE[text].setters}
    shuffled = random.sample(tags, len(tags))
    assert resolve("_".join(["base_24gb_v6", *shuffled])) == resolved.experiment
    assert Experiment.model_validate_json(resolved.experiment.model_dump_json()) == resolved.experiment
