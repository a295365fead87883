"""Published names: what each says beyond its base, by hand and by record."""

from __future__ import annotations

import json

import pytest

from aedo.experiment import Experiment
from aedo.recipes.bases import BASES
from aedo.recipes.names import analyse, resolve
from aedo.recipes.trees import differences
from tests.recipes.published import NAMES
from tests.recipes.regenerate import NAMES_FOLDER, text_of_name


@pytest.mark.parametrize("name", NAMES)
def test_a_published_name_says_what_the_reference_says(name: str) -> None:
    published, resolved = NAMES[name], analyse(name)
    assert resolved.base == published.base
    found = differences(resolve(published.base).model_dump(), resolved.experiment.model_dump())
    assert {path: value for path, _, value in found} == published.sets


@pytest.mark.parametrize("name", NAMES)
def test_its_difference_is_the_recorded_one(name: str) -> None:
    """Where a change is meant: python -m tests.recipes.regenerate."""
    assert text_of_name(name) == (NAMES_FOLDER / f"{name}.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_every_value_of_the_record_belongs_to_a_tag_of_the_name(name: str) -> None:
    tags = {entry.text for entry in analyse(name).tags}
    assert all(set(line["tag"].split(", ")) <= tags for line in json.loads(text_of_name(name)))


@pytest.mark.parametrize("name", NAMES)
def test_underscores_separate_as_well(name: str) -> None:
    assert resolve(name.replace("-", "_")) == resolve(name)


def test_no_record_is_left_of_a_name_that_is_gone() -> None:
    assert {path.stem for path in NAMES_FOLDER.glob("*.json")} == set(NAMES)


def test_every_base_of_the_reference_is_published() -> None:
    assert {published.base for published in NAMES.values()} == {base for base in BASES if "gb" in base}


@pytest.mark.parametrize("name", NAMES)
def test_the_tree_alone_rebuilds_it(name: str) -> None:
    e = resolve(name)
    assert Experiment.model_validate_json(e.model_dump_json()) == e
