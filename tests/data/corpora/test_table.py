from __future__ import annotations

from pathlib import Path

import pytest

from aedo.data.corpora.table import list_table
from aedo.errors import UserError


def table(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


SAME = {
    "t.csv": 'path,text,speaker,split,id\na/1.wav,"HELLO, YOU",s1,validation,u1\nb/2.wav,BYE,,,\n',
    "t.tsv": "file\tsentence\tclient_id\tsubset\tid\na/1.wav\tHELLO, YOU\ts1\tdev\tu1\nb/2.wav\tBYE\t\t\t\n",
    "t.jsonl": '{"audio": "a/1.wav", "text": "HELLO, YOU", "speaker": "s1", "split": "Dev", "id": "u1"}\n'
    '\n{"audio": "b/2.wav", "text": "BYE", "speaker": null}\n',
}


@pytest.mark.parametrize("name", SAME)
def test_all_formats_say_the_same(tmp_path: Path, name: str) -> None:
    listing = list_table(table(tmp_path, name, SAME[name]))
    assert listing.items == [
        ("u1", tmp_path / "a/1.wav", "HELLO, YOU", "s1", "dev"),
        ("b-2", tmp_path / "b/2.wav", "BYE", "unknown", "train"),
    ]
    assert listing.refused == []


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    listing = list_table(table(tmp_path, "t.csv", "\ufeffpath,text\na.wav,HI\n"))
    assert listing.items[0].text == "HI"


def test_quotation_marks_in_tsv_are_text(tmp_path: Path) -> None:
    listing = list_table(table(tmp_path, "t.tsv", 'path\ttext\na.wav\t"Hi" she said\nb.wav\t"open\nc.wav\tC\n'))
    assert [i.text for i in listing.items] == ['"Hi" she said', '"open', "C"]


def test_columns_can_be_named_and_the_rest_is_reported(tmp_path: Path) -> None:
    path = table(tmp_path, "t.csv", "clip,words,age,text\na.wav,HI,7,NO\n")
    listing = list_table(path, audio_column="clip", text_column="words")
    assert listing.items[0].text == "HI"
    assert listing.notes == ["columns not used: age, text"]


@pytest.mark.parametrize(
    ("name", "line", "reason"),
    [
        ("t.csv", "c.wav,HI,x", "corrupt table line: 3 fields, expected 2"),
        ("t.csv", "c.wav", "corrupt table line: 1 fields, expected 2"),
        ("t.csv", 'c.wav,"HI"x', "corrupt table line: "),
        ("t.csv", ",HI", "no audio path in this line"),
        ("t.jsonl", '{"audio": "c.wav", "text"', "corrupt table line: not JSON"),
        ("t.jsonl", "[1]", "corrupt table line: not a JSON object"),
        ("t.jsonl", '{"audio": "c.wav", "text": "HI", "split": "../x"}', "split name is unusable: '../x'"),
        ("t.jsonl", '{"audio": "c.wav", "text": "HI", "split": "refused"}', "split name is unusable: 'refused'"),
    ],
)
def test_a_damaged_line_is_refused_with_its_number_and_the_rest_is_kept(
    tmp_path: Path, name: str, line: str, reason: str
) -> None:
    good = {"t.csv": ("path,text\na.wav,A", "b.wav,B"), "t.jsonl": ('{"audio": "a.wav", "text": "A"}',) * 2}[name]
    path = table(tmp_path, name, f"{good[0]}\n{line}\n{good[1]}\n")
    listing = list_table(path)
    assert len(listing.items) == 2
    (refused,) = listing.refused
    assert refused.file == f"{path}:{2 if name == 't.jsonl' else 3}"
    assert refused.reason.startswith(reason)


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("t.xlsx", "x", {}, "a table ends in .csv, .tsv, .jsonl"),
        ("t.csv", b"path,text\na.wav,\xff\n", {}, "is not UTF-8"),
        ("t.csv", "", {}, "the table has no lines"),
        ("t.csv", "foo,text\na,b\n", {}, r"no column for the audio \(audio, path.*it has foo, text: say which with"),
        ("t.csv", "path,foo\na,b\n", {}, "no column for the text"),
        ("t.csv", "path,text\na,b\n", {"text_column": "word"}, r"unknown column 'word' .*it has path, text"),
        ("t.jsonl", "{\n", {}, r"t.jsonl:1: corrupt table line: not JSON"),
    ],
)
def test_an_unusable_table_is_an_error(tmp_path: Path, name: str, content, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        list_table(table(tmp_path, name, content), **options)


def test_a_missing_table_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none.csv: cannot be read: No such file"):
        list_table(tmp_path / "none.csv")
