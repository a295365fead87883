import typer
from typer.testing import CliRunner

from aedo.commands import report


def invoke(*arguments: object):
    app = typer.Typer()
    app.callback()(lambda: None)  # keeps the verb
    report.register(app)
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


def test_the_page_of_one_run_goes_into_its_folder(run):
    result = invoke(run, "--pictures", 0)
    assert result.exit_code == 0, result.output
    assert f"{run / 'report.html'} (" in result.output
    assert (run / "report.html").read_text().startswith("<!doctype html>")


def test_what_could_not_be_read_is_told(run, tmp_path):
    with open(run / "log.jsonl", "a") as file:
        file.write("broken\n")
    result = invoke(run, "-o", tmp_path / "page.html", "--pictures", 0)
    assert result.exit_code == 0
    assert "log.jsonl:13: not a valid line" in result.output


def test_a_folder_that_is_no_run_is_a_user_error(tmp_path):
    result = invoke(tmp_path)
    assert type(result.exception).__name__ == "UserError"
    assert "not a run folder" in str(result.exception)
