"""Text to labels and back: normalisation and tokenizers.

Labels are 0 .. V-1, EOS among them; the CTC blank is V, one past the last label, and belongs to no tokenizer.
EOS is 0 and unknown is 1 in every vocabulary.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import Field

from aedo.augment.labels import Lexicon
from aedo.config import Part
from aedo.conventions import EOS
from aedo.errors import UserError

log = logging.getLogger(__name__)

UNKNOWN = 1
_SPECIAL = ("</s>", "<unk>")
_WORD = "\u2581"
"""SentencePiece's mark in front of a word."""
_FORMAT = 1


class TokenizerConfig(Part):
    kind: Literal["bpe", "unigram", "char", "imported"] = "bpe"
    """SentencePiece byte-pair encoding or unigram model, or characters; imported: a model came with its vocabulary."""
    size: int = Field(10025, ge=3)
    """Labels including EOS (id 0); a small corpus may give fewer (the run records how many); unused by `char`."""


class Tokenizer(Protocol):
    """Text to label ids and back.  EOS is never part of an encoding."""

    size: int
    """Labels in the vocabulary, EOS included (V); the CTC blank is V."""
    digest: str
    """Hexadecimal name of the exact vocabulary: equal digests, equal encodings."""
    labels: list[str]
    """[V] what each label is called."""
    unknown: int | None
    """The label of what cannot be spelled, where there is one."""

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: Sequence[int]) -> str:
        """Words separated by single blanks; EOS is skipped, an unknown label reads "<unk>"."""
        ...

    def lexicon(self) -> Lexicon | None:
        """What other labels than those of `encode` can be drawn from; None where there are no others."""
        ...


class CharTokenizer:
    """One label a character, the blank between words included."""

    def __init__(self, characters: Sequence[str]) -> None:
        self.labels = [*_SPECIAL, *characters]
        self.unknown: int | None = UNKNOWN
        self._ids = {character: number for number, character in enumerate(characters, len(_SPECIAL))}
        self.size = len(self.labels)
        self.digest = _digest(json.dumps(self.labels).encode())

    def encode(self, text: str) -> list[int]:
        return [self._ids.get(character, UNKNOWN) for character in " ".join(text.split())]

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join("".join(self.labels[i] for i in ids if i != EOS).split())

    def lexicon(self) -> None:
        return None


class SentencePieceTokenizer:
    """A SentencePiece model (BPE or unigram), given as the bytes of its file."""

    def __init__(self, model: bytes) -> None:
        from sentencepiece import SentencePieceProcessor

        self._processor: Any = SentencePieceProcessor(model_proto=model)
        self._model = model
        self.size = int(self._processor.vocab_size())
        self.eos = int(self._processor.eos_id())
        self.unknown: int | None = int(self._processor.unk_id())
        self.labels: list[str] = self._processor.id_to_piece(list(range(self.size)))
        self.digest = _digest(model)

    def __reduce__(self) -> tuple[type[SentencePieceTokenizer], tuple[bytes]]:
        return SentencePieceTokenizer, (self._model,)

    def encode(self, text: str) -> list[int]:
        return list(self._processor.encode(text))

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(str(self._processor.decode([int(i) for i in ids])).split())

    def lexicon(self) -> Lexicon:
        usual = [i for i in range(self.size) if i not in (self.eos, self.unknown)]
        pieces = {str(self._processor.id_to_piece(i)): i for i in usual}
        scores = {piece: float(self._processor.get_score(i)) for piece, i in pieces.items()}
        return Lexicon(pieces, scores, max(map(len, pieces), default=0), before=_WORD)


def train_tokenizer(config: TokenizerConfig, texts: Iterable[str], folder: Path) -> Tokenizer:
    """Learn a vocabulary from `texts`, write it into `folder` and return it.  Same texts, same bytes.

    A corpus too small for `config.size` gives the largest vocabulary it can, which is logged and written into
    tokenizer.json.  Raises UserError when there is no text, or more characters than labels.
    """
    if config.kind == "imported":
        raise UserError(
            "tokenizer.kind imported cannot be trained: start from the imported run (aedo train --from RUN)"
        )
    folder.mkdir(parents=True, exist_ok=True)
    lines: Iterator[str] = (line for line in (" ".join(text.split()) for text in texts) if line)
    first = next(lines, None)
    if first is None:
        raise UserError("cannot train a tokenizer: the training texts are empty")
    lines = chain([first], lines)
    if config.kind == "char":
        characters = sorted({character for line in lines for character in line})
        tokenizer: Tokenizer = CharTokenizer(characters)
        write_description(folder, config.kind, tokenizer, {"characters": characters})
        return tokenizer
    model = _train_sentencepiece(config, lines)
    tokenizer = SentencePieceTokenizer(model)
    if tokenizer.size < config.size:
        log.warning(
            "tokenizer: the corpus gives %d %s labels, %d were asked for", tokenizer.size, config.kind, config.size
        )
    (folder / "tokenizer.model").write_bytes(model)
    write_description(folder, config.kind, tokenizer, {"model": "tokenizer.model"}, config.size)
    return tokenizer


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer that `train_tokenizer` wrote into `folder`.  Raises UserError when missing or damaged."""
    path = folder / "tokenizer.json"
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        if description["format"] != _FORMAT:
            raise UserError(f"{path}: format {description['format']!r} is unknown, expected {_FORMAT}")
        tokenizer: Tokenizer
        if description["kind"] == "char":
            tokenizer = CharTokenizer(description["characters"])
        elif description["kind"] == "returnn-bpe":
            from aedo.data.bpe import BpeTokenizer

            codes = description.get("codes")
            text = None if codes is None else (folder / codes).read_text(encoding="utf-8")
            tokenizer = BpeTokenizer(description["labels"], text)
        else:
            tokenizer = SentencePieceTokenizer((folder / description["model"]).read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"{error.filename}: no such file; a tokenizer is tokenizer.json and its model") from error
    except (KeyError, TypeError, ValueError, RuntimeError, OSError) as error:
        raise UserError(f"{path}: not a tokenizer description ({error}); train it anew or restore it") from error
    if tokenizer.digest != description.get("digest"):
        raise UserError(f"{path}: the vocabulary does not match its digest; it was changed after training")
    return tokenizer


def _train_sentencepiece(config: TokenizerConfig, lines: Iterator[str]) -> bytes:
    import sentencepiece

    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=lines,
            model_writer=model,
            model_type=config.kind,
            vocab_size=config.size,
            hard_vocab_limit=False,  # a small corpus: as many labels as it gives
            eos_id=EOS,
            unk_id=UNKNOWN,
            bos_id=-1,
            pad_id=-1,
            unk_surface=" <unk> ",
            character_coverage=1.0,
            normalization_rule_name="identity",  # normalisation is our own, at preparation
            split_digits=True,
            max_sentence_length=1 << 24,  # the default leaves long transcripts out without a word
            num_threads=1,  # several threads sum in varying order
            minloglevel=2,
        )
    except RuntimeError as error:
        reason = str(error).rpartition("] ")[2]
        needed = re.search(r"smaller than required_chars\. \d+ vs (\d+)", reason)
        if needed:
            raise UserError(
                f"tokenizer.size {config.size} is too small: the training texts need at least {needed[1]} labels "
                f"(one a character); ask for more, or normalise the texts with aedo prepare --normalize"
            ) from error
        raise UserError(f"cannot train a {config.kind} tokenizer of {config.size} labels: {reason}") from error
    return model.getvalue()


def write_description(
    folder: Path, kind: str, tokenizer: Tokenizer, content: dict[str, Any], size_asked: int | None = None
) -> None:
    """Write tokenizer.json, which `load_tokenizer` reads; `content`: what makes a tokenizer of this kind."""
    description = {
        "format": _FORMAT,
        "kind": kind,
        "size_asked": size_asked,
        "size": tokenizer.size,
        "eos": EOS,
        "unknown": UNKNOWN,
        "digest": tokenizer.digest,
        **content,
    }
    (folder / "tokenizer.json").write_text(json.dumps(description, ensure_ascii=False, indent=1) + "\n", "utf-8")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


# Normalisation: named steps, applied at preparation in the order given.

_TYPOGRAPHY = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02bc\u00b4`", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        "\u2026": "...",
    }
)


def plain_typography(text: str) -> str:
    """Unicode NFKC; curly quotes, dashes and the ellipsis as ASCII; control and zero-width characters removed."""
    text = "".join(c for c in text.translate(_TYPOGRAPHY) if c.isspace() or unicodedata.category(c) not in ("Cc", "Cf"))
    return unicodedata.normalize("NFKC", text).translate(_TYPOGRAPHY)


def without_punctuation(text: str) -> str:
    """Punctuation and symbols become blanks; apostrophes inside words stay (IT'S), elsewhere they go ('TIS)."""
    text = re.sub(r"(?<![^\W_])'|'(?![^\W_])", " ", text)
    return "".join(c if c == "'" or unicodedata.category(c)[0] not in "PS" else " " for c in text)


NORMALIZERS: dict[str, Callable[[str], str]] = {
    "none": str,
    "unicode": plain_typography,
    "nopunct": without_punctuation,
    "upper": str.upper,
    "lower": str.lower,
}


def normalizer(steps: str) -> Callable[[str], str]:
    """The function that applies `steps` ("unicode,nopunct,upper") in order, then joins words by single blanks.

    Raises UserError for an unknown step.
    """
    names = [name.strip() for name in steps.split(",") if name.strip()]
    unknown = [name for name in names if name not in NORMALIZERS]
    if unknown:
        raise UserError(f"--normalize {steps}: unknown step {unknown[0]!r}; there are {', '.join(NORMALIZERS)}")
    functions = [NORMALIZERS[name] for name in names]

    def normalize(text: str) -> str:
        for function in functions:
            text = function(text)
        return " ".join(text.split())

    return normalize
