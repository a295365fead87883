from pathlib import Path

import pytest

from aedo.errors import UserError
from aedo.sweep.plan import alternatives, parse_seeds, plan, read_names


def test_each_tag_is_added_alone_to_the_base() -> None:
    names = alternatives("tiny", ["ls0", "nospecaug, posdrop02", "ls0"])
    assert names == ["tiny", "tiny-ls0", "tiny-nospecaug", "tiny-posdrop02"]


def test_the_product_takes_at_most_one_tag_of_a_group() -> None:
    names = alternatives("tiny", ["ls0,ls02", "nospecaug"], combined=True)
    assert names == [
        "tiny",
        "tiny-nospecaug",
        "tiny-ls0",
        "tiny-ls0-nospecaug",
        "tiny-ls02",
        "tiny-ls02-nospecaug",
    ]


def test_all_names_come_with_the_first_seed_before_any_with_the_second() -> None:
    jobs = plan(["tiny", "tiny-ls0"], (3, 4))
    assert [job.title for job in jobs] == ["tiny seed 3", "tiny-ls0 seed 3", "tiny seed 4", "tiny-ls0 seed 4"]
    assert len({job.experiment.digest() for job in jobs}) == 4


def test_without_seeds_every_experiment_has_its_own() -> None:
    (job,) = plan(["tiny"], parse_seeds(""))
    assert job.seed is None
    assert job.experiment.train.seed == 1


def test_all_wrong_names_are_told_at_once() -> None:
    with pytest.raises(UserError) as caught:
        plan(["tyny", "tiny", "tiny-foo", "nofile.json"], (1,))
    told = str(caught.value)
    assert told.startswith("nothing was started:")
    assert all(text in told for text in ("did you mean tiny", "unknown tag 'foo'", "nofile.json"))


def test_two_names_of_one_experiment_are_refused() -> None:
    with pytest.raises(UserError, match="tiny-ls0-nospecaug and tiny-nospecaug-ls0 are the same experiment"):
        plan(["tiny-ls0-nospecaug", "tiny-nospecaug-ls0"], (1,))


def test_a_name_given_twice_counts_once() -> None:
    assert len(plan(["tiny", "tiny"], (1, 2))) == 2


@pytest.mark.parametrize(("text", "seeds"), [("1,2", (1, 2)), (" 3 , 3,", (3,)), ("", (None,))])
def test_seeds_are_numbers_joined_by_commas(text: str, seeds: tuple[int | None, ...]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["one", "1;2", "-1", "1.5"])
def test_other_seeds_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="--seeds"):
        parse_seeds(text)


def test_a_file_holds_a_name_a_line_and_comments(tmp_path: Path) -> None:
    file = tmp_path / "names.txt"
    file.write_text("# regularisation\ntiny-ls0  # none\n\n  tiny-posdrop02\n")
    assert read_names(file) == ["tiny-ls0", "tiny-posdrop02"]
    file.write_text("# nothing\n")
    with pytest.raises(UserError, match="holds no name"):
        read_names(file)
    with pytest.raises(UserError, match="cannot be read"):
        read_names(tmp_path / "missing.txt")
