import builtins
import re
import shutil
from html.parser import HTMLParser

import pytest

from aedo.errors import UserError
from aedo.report import needs
from aedo.report.page import Options, write_report
from tests.report.runs import make_run

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """Checks nesting and collects what the page refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.ids: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.references += [found[k] for k in ("src", "href", "xlink:href", "srcset", "poster") if found.get(k)]
        self.ids += [found["id"]] if "id" in found else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def page_of(tmp_path, *runs, **options) -> str:
    out = tmp_path / "pages" / "report.html"
    write_report(runs, out, Options(**options))
    return out.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def text(finished, tmp_path_factory) -> str:
    return page_of(tmp_path_factory.mktemp("page"), finished)


def test_the_page_asks_for_nothing_outside_itself(text):
    page = Page(text)
    assert all(reference.startswith(("data:", "#")) for reference in page.references)
    assert not re.search(r"url\((?!#)|@import|<script|<iframe", text)


def test_ids_are_unique_and_references_inside_the_page_exist(tmp_path, finished):
    other = make_run(tmp_path / "other", "tiny-ls02", {"loss": {"label_smoothing": 0.2}})
    text = page_of(tmp_path, finished, other)
    page = Page(text)
    inside = {r[1:] for r in page.references if r.startswith("#")} | set(re.findall(r"url\(#([^)]+)\)", text))
    assert len(page.ids) == len(set(page.ids))
    assert inside <= set(page.ids)
    assert "2 runs compared" in text


@pytest.mark.parametrize(
    "expected",
    [
        "aedo train tiny --data",
        "0123abc, unchanged",
        "A Processor",
        "cross-entropy per label",
        "dev / devtrain",
        "learning rate",
        "gradient norm",
        "RETURNN",
        "data:audio/flac;base64,",
        "decoder attention",
        "CTC posteriors and best path",
        "2 × audio is silent",
    ],
)
def test_the_page_shows(text, expected):
    assert expected in text


def test_words_of_the_data_cannot_become_markup(text):
    assert "&lt;B&gt;" in text
    assert "<B>" not in text


def test_colours_follow_the_reader(text):
    assert "prefers-color-scheme: dark" in text
    svg = "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))
    assert not re.search(r"(?:fill|stroke): #(?!fff)", svg)
    assert "#ffffff" not in svg


def test_the_same_run_gives_the_same_page(finished, tmp_path, text):
    def timeless(page):
        return re.sub(r"made [\d: UTC-]+", "", page)

    assert timeless(page_of(tmp_path, finished)) == timeless(text)


def test_without_checkpoint_and_audio_the_page_says_why(run, tmp_path):
    shutil.rmtree(run / "checkpoints")
    for path in (tmp_path / "data").glob("*.wav"):
        path.unlink()
    text = page_of(tmp_path, run)
    assert "No pictures:" in text
    assert "not there any more" in text
    assert "no audio: audio file is missing" in text


def test_without_audio_each_picture_says_why(run, tmp_path):
    for path in (tmp_path / "data").glob("*.wav"):
        path.unlink()
    assert "no picture: audio file is missing" in page_of(tmp_path, run)


def test_damaged_weights_leave_the_rest_of_the_page(run, tmp_path):
    (run / "checkpoints" / "average-last10pct" / "model.safetensors").write_bytes(b"no weights")
    text = page_of(tmp_path, run)
    assert "not a readable safetensors file" in text
    assert "Word error rate" in text


def test_a_run_that_has_just_started_has_a_page(run, tmp_path):
    for name in ("recog", "checkpoints"):
        shutil.rmtree(run / name)
    (run / "log.jsonl").unlink()
    (run / "steps.jsonl").unlink()
    text = page_of(tmp_path, run)
    Page(text)
    assert "no finished sub-epoch yet" in text
    assert "Nothing was recognised with this run yet" in text


def test_a_model_without_decoder_is_drawn_with_ctc_alone(tmp_path):
    text = page_of(tmp_path, make_run(tmp_path / "ctc", tree={"decoder": None}))
    assert "CTC posteriors" in text
    assert ">decoder attention<" not in text


def test_a_model_without_ctc_is_drawn_with_attention_alone(tmp_path):
    text = page_of(tmp_path, make_run(tmp_path / "att", tree={"ctc": {"layers": []}}))
    assert ">decoder attention<" in text
    assert "CTC posteriors" not in text


def test_a_name_that_is_not_known_is_shown_unexplained(tmp_path):
    text = page_of(tmp_path, make_run(tmp_path / "odd", "mystery-run"), pictures=0)
    assert "The name is not explained" in text
    assert "left out on request" in text


def test_infinite_and_missing_values_do_not_stop_the_page(run, tmp_path):
    log = (run / "log.jsonl").read_text().replace('"grad_norm": 1.5', '"grad_norm": NaN')
    (run / "log.jsonl").write_text(log.replace('"train": {"ce": ', '"train": {"ce": Infinity, "odd": ', 1))
    (run / "steps.jsonl").unlink()
    Page(page_of(tmp_path, run))


def test_the_same_run_twice_is_refused(finished, tmp_path):
    with pytest.raises(UserError, match="given twice"):
        page_of(tmp_path, finished, finished)


def test_an_unwritable_place_is_a_clear_error(finished, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file"):
        write_report([finished], tmp_path / "file" / "report.html", Options(pictures=0))


def test_missing_libraries_name_the_extra(monkeypatch):
    monkeypatch.setattr(needs, "find_spec", lambda name: None if name == "jinja2" else builtins.object())
    with pytest.raises(UserError, match=r"needs jinja2; run pip install 'aedo\[report\]'"):
        needs.check_extras()
