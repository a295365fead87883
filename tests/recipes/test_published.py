"""Published names: what each says beyond its base, by hand and by record."""

from __future__ import annotations

import json
from functools import cache

import pytest

from aedo.experiment import Experiment
from aedo.recipes.bases import BASES
from aedo.recipes.names import analyse, resolve
from aedo.recipes.trees import Tree, differences
from tests.recipes.published import NAMES, SWITCHBOARD
from tests.recipes.regenerate import NAMES_FOLDER, text_of_name

resolved = cache(analyse)


@cache
def base_tree(base: str) -> Tree:
    return resolve(base).model_dump()


@pytest.mark.parametrize("name", NAMES)
def test_a_published_name_says_what_the_reference_says(name: str) -> None:
    published, found = NAMES[name], resolved(name)
    assert found.base == published.base
    by_path = differences(base_tree(found.base), found.experiment.model_dump())
    assert {path: value for path, _, value in by_path} == published.sets


@pytest.mark.parametrize("name", NAMES)
def test_its_difference_is_the_recorded_one(name: str) -> None:
    """Where a change is meant: python -m tests.recipes.regenerate."""
    text = text_of_name(resolved(name))
    assert text == (NAMES_FOLDER / f"{name}.json").read_text(encoding="utf-8")
    tags = {entry.text for entry in resolved(name).tags}
    assert all(set(line["tag"].split(", ")) <= tags for line in json.loads(text)), "every value belongs to a tag"


@pytest.mark.parametrize("name", NAMES)
def test_underscores_separate_as_well(name: str) -> None:
    assert resolve(name.replace("-", "_")) == resolved(name).experiment


@pytest.mark.parametrize("name", NAMES)
def test_the_tree_alone_rebuilds_it(name: str) -> None:
    e = resolved(name).experiment
    assert Experiment.model_validate_json(e.model_dump_json()) == e


def test_no_record_is_left_of_a_name_that_is_gone() -> None:
    assert {path.stem for path in NAMES_FOLDER.glob("*.json")} == set(NAMES)


OWN = ("tiny", "an4", "an4-stream")


def test_every_base_of_the_reference_has_published_names() -> None:
    assert {published.base for published in NAMES.values()} == {base for base in BASES if base not in OWN}


def test_every_tag_of_the_older_name_matters_among_the_others() -> None:
    whole = resolved(SWITCHBOARD)
    for entry in whole.tags:
        if entry.text != "d384":  # which 6 heads need
            without = resolve(SWITCHBOARD.replace(f"_{entry.text}", ""))
            assert without != whole.experiment, entry.text
    assert resolve("conformer-d384") != resolve("conformer")


def test_a_name_tells_its_length_by_its_peak_or_its_devices_where_it_does_not_say_it() -> None:
    short = "v6-11gb-f32-bs15k-accgrad1"
    assert resolve(f"{short}-lrlin1e_5_295k") == resolve(f"{short}-ep500-lrlin1e_5_295k")
    assert resolve(f"{short}-mgpu4-lrlin1e_5_100k") == resolve(f"{short}-mgpu4-ep500-lrlin1e_5_100k")
    assert resolve(f"{short}-lrlin1e_5_234k").train.epochs == 400
    assert resolve(f"{short}-ep600-lrlin1e_5_295k").train.epochs == 600, "what the name says counts first"
