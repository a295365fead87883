"""aedo recipes and aedo diff on the command line."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from aedo.commands import diff, recipes
from aedo.errors import UserError
from aedo.experiment import Experiment
from aedo.recipes.bases import BASES
from aedo.recipes.names import resolve
from aedo.recipes.registry import TAGS


def run(*arguments: str) -> str:
    app = typer.Typer()
    recipes.register(app)
    diff.register(app)
    result = CliRunner().invoke(app, arguments)
    if result.exception:
        raise result.exception
    return result.output


def test_the_list_has_every_base_and_every_tag_on_a_line() -> None:
    lines = run("recipes").splitlines()
    assert all(any(line.startswith(f"  {base} ") for line in lines) for base in BASES)
    spellings = [str(tag.patterns[0]) for tag in TAGS.values()]
    assert all(any(line.strip().startswith(spelling) for line in lines) for spelling in spellings)


def test_a_tag_is_explained_with_its_effect() -> None:
    assert "train.gradients.clip_norm = 1" in run("recipes", "gradclip1")


def test_json_is_the_whole_experiment() -> None:
    name = "tiny-lr3e_3"
    assert Experiment.model_validate(json.loads(run("recipes", name, "--json"))) == resolve(name)
    with pytest.raises(UserError, match="--json needs the name"):
        run("recipes", "--json")


def test_diff_shows_both_values_and_who_set_them() -> None:
    shown = run("diff", "24gb-v6", "24gb-v6-wd1e_3")
    assert shown == "train.optimizer.weight_decay.value\n  - 1e-06  [11gb]\n  + 0.001  [wd1e_3]\n"
    assert "are the same experiment" in run("diff", "24gb-v6", "base_24gb_v6")


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UserError, match="did you mean 24gb"):
        run("diff", "24gb-v6", "25gb-v6")
