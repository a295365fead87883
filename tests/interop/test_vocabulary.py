"""Vocabularies of other systems, in all their forms."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import pytest
import sentencepiece

from aedo.data.bpe import BpeTokenizer
from aedo.data.text import load_tokenizer
from aedo.errors import UserError
from aedo.interop.vocabulary import read_labels, write_tokenizer

LABELS = ["</s>", "<unk>", "h@@", "e@@", "l@@", "o", "lo", "hel@@", "w@@", "x"]
CODES = "#version: 0.2\nl o</w>\nh e\nhe l\n"


def written(folder: Path, text: str, name: str = "vocab.txt") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "{'</s>': 0, '<s>': 0, '<unk>': 1,\n" + "".join(f"{n!r}: {i},\n" for i, n in enumerate(LABELS) if i > 1) + "}",
        repr(LABELS),
        '{"</s>": 0, ' + ", ".join(f'"{name}": {number}' for number, name in enumerate(LABELS) if number) + "}",
        "\n".join(LABELS) + "\n",
        "\r\n".join(f"{name} {number}" for number, name in enumerate(LABELS)),
        "\ufeff" + "\n".join(f"{name}\t{number}" for number, name in reversed(list(enumerate(LABELS)))),
    ],
)
def test_every_plain_form_gives_the_same_labels(text: str, tmp_path: Path) -> None:
    assert read_labels(written(tmp_path, text)) == LABELS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("{'a': 0, 'b': 2}", "no name has the number 1"),
        ("{'a': 0, 'b': -1}", "has the number -1"),
        ("{'a': 0, 'b': 10**9}", "not a Python or JSON literal"),
        ("{'a': 0, 'b': True}", "is not a name and a number"),
        ("{1: 'a'}", "is not a name and a number"),
        ("{'a', 'b'}", "a Python set"),
        ("{'a': __import__('os').mkdir('trap')}", "not a Python or JSON literal"),
        ("['a', 'a']", "'a' is there twice"),
        ("a\nb c d\n", "vocab.txt:2: expected one name a line"),
        ("[" * 100_000, "not a Python or JSON literal"),
        ("{'a': " + "-" * 100_000 + "1}", "not a Python or JSON literal"),
    ],
)
def test_what_is_no_vocabulary_is_refused(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        read_labels(written(tmp_path, text))
    assert not Path("trap").exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_not_opened(protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "vocab"
    path.write_bytes(pickle.dumps({"a": 0}, protocol))
    with pytest.raises(UserError, match="perhaps a pickle, which could run any code"):
        read_labels(path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab").write_bytes(b"\xff\xfeabc")
    with pytest.raises(UserError, match="not UTF-8 text"):
        read_labels(tmp_path / "vocab")
    with pytest.raises(UserError, match="No such file"):
        read_labels(tmp_path / "none")


def test_pieces_are_joined_into_words() -> None:
    tokenizer = BpeTokenizer(LABELS, None)
    assert tokenizer.decode([7, 6, 8, 5, 9, 0]) == "hello wo x"
    assert tokenizer.decode([9, 1, 7]) == "x <unk> hel"
    assert tokenizer.decode([0]) == tokenizer.decode([]) == ""


def test_words_are_cut_as_subword_nmt_cuts_them(tmp_path: Path) -> None:
    pytest.importorskip("subword_nmt", reason="needs the extra: pip install 'aedo[returnn]'")
    vocabulary, codes = written(tmp_path, repr(LABELS)), written(tmp_path, CODES, "bpe.codes")
    tokenizer = write_tokenizer(tmp_path / "tokenizer", vocabulary, codes, len(LABELS))
    assert [LABELS[i] for i in tokenizer.encode("hello  x")] == ["hel@@", "lo", "x"]
    assert [LABELS[i] for i in tokenizer.encode("wo")] == ["w@@", "o"]
    assert tokenizer.encode("q") == [1]
    assert tokenizer.decode(tokenizer.encode("hello x wo")) == "hello x wo"
    loaded = load_tokenizer(tmp_path / "tokenizer")
    assert (loaded.digest, loaded.size) == (tokenizer.digest, len(LABELS))
    assert loaded.encode("hello") == tokenizer.encode("hello")
    assert pickle.loads(pickle.dumps(loaded)).encode("hello") == tokenizer.encode("hello")


def test_files_that_are_no_codes_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("subword_nmt", reason="needs the extra: pip install 'aedo[returnn]'")
    vocabulary, codes = written(tmp_path, repr(LABELS)), written(tmp_path, "one two three\n", "bpe.codes")
    with pytest.raises(UserError, match="not a file of BPE codes"):
        write_tokenizer(tmp_path / "tokenizer", vocabulary, codes, len(LABELS))
    with pytest.raises(UserError, match="--bpe-codes goes with --vocab"):
        write_tokenizer(tmp_path / "tokenizer", None, codes, len(LABELS))


def test_without_codes_a_word_is_a_label_or_unknown() -> None:
    assert BpeTokenizer(LABELS, None).encode("x lo what") == [9, 6, 1]
    with pytest.raises(UserError, match="'what' is no label"):
        BpeTokenizer(["</s>", "x"], None).encode("x what")


def test_the_vocabulary_must_be_that_of_the_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="10 labels, but the model has 40"):
        write_tokenizer(tmp_path / "a", written(tmp_path, repr(LABELS)), None, 40)
    with pytest.raises(UserError, match="label 0 is 'x', but aedo needs the end of sentence"):
        write_tokenizer(tmp_path / "b", written(tmp_path, "x\n</s>\n"), None, 2)


def test_without_vocabulary_labels_are_their_numbers(tmp_path: Path) -> None:
    tokenizer = write_tokenizer(tmp_path / "a", None, None, 40)
    assert (tokenizer.size, tokenizer.decode([3, 39, 0]), tokenizer.encode("3 39")) == (40, "3 39", [3, 39])
    assert load_tokenizer(tmp_path / "a").decode([3, 39]) == "3 39"


def test_a_sentencepiece_model_comes_along(tmp_path: Path) -> None:
    def model(eos: int) -> bytes:
        out = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["hello world", "low hell"] * 5), model_writer=out, vocab_size=20,
            hard_vocab_limit=False, eos_id=eos, bos_id=1 - eos, unk_id=2, minloglevel=2,
        )  # fmt: skip
        return out.getvalue()

    path = tmp_path / "spm.model"
    path.write_bytes(model(0))
    size = sentencepiece.SentencePieceProcessor(model_proto=model(0)).vocab_size()
    write_tokenizer(tmp_path / "a", path, None, size)
    loaded = load_tokenizer(tmp_path / "a")
    assert loaded.size == size
    assert loaded.decode([*loaded.encode("hello low"), 0]) == "hello low"
    with pytest.raises(UserError, match="not its vocabulary"):
        write_tokenizer(tmp_path / "b", path, None, size + 1)
    path.write_bytes(model(1))
    with pytest.raises(UserError, match="end of sentence is label 1"):
        write_tokenizer(tmp_path / "c", path, None, size)
    path.write_bytes(b"not a model")
    with pytest.raises(UserError, match="not a SentencePiece model"):
        write_tokenizer(tmp_path / "d", path, None, size)
