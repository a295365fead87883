"""Tokenizers and models small enough to be read as a whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from aedo.data.text import CharTokenizer
from aedo.lm.arpa import NGrams
from aedo.lm.kneser_ney import estimate
from aedo.lm.ngram import NgramLM
from aedo.lm.sentences import Line, Sentences, spelled
from aedo.lm.symbols import Symbols
from aedo.lm.transformer_lm import TransformerLM, TransformerLmConfig
from aedo.model.labels import Labels

GOLDEN = Path(__file__).parents[1] / "golden" / "data" / "lmplz"
CPU = torch.device("cpu")


def sentences_of(texts: list[str], tokenizer: CharTokenizer) -> Sentences:
    return spelled((Line(f"text:{i}", text) for i, text in enumerate(texts, 1)), tokenizer, str)


def random_texts(count: int, letters: str, seed: int) -> list[str]:
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 9, count)
    return ["".join(random.choice(list(letters), p=_falling(len(letters)), size=n)) for n in lengths]


def _falling(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    weights = 1 / np.arange(1, count + 1)
    return weights / weights.sum()


def estimated(order: int, letters: str = "abcde", count: int = 60, seed: int = 0) -> tuple[list[NGrams], Symbols]:
    tokenizer = CharTokenizer(list(letters))
    symbols = Symbols.of(tokenizer)
    return estimate(sentences_of(random_texts(count, letters, seed), tokenizer), symbols.size, order).orders, symbols


def ngram_lm(order: int = 3) -> NgramLM:
    return NgramLM(*estimated(order))


def transformer_lm(vocabulary: int = 7, seed: int = 0) -> TransformerLM:
    torch.manual_seed(seed)
    config = TransformerLmConfig.model_validate(
        {"layers": 2, "dim": 16, "heads": 2, "feed_forward": {"dim": 24, "activation": "swiglu", "bias": False}}
    )
    return config.build(vocabulary).eval()


def some_labels(vocabulary: int, lengths: list[int], seed: int = 0) -> Labels:
    """Random, with EOS; EOS nowhere else."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, vocabulary, (len(lengths), max(lengths)), generator=generator)
    counts = torch.tensor(lengths)
    return Labels(ids.masked_fill(torch.arange(max(lengths)) >= counts[:, None], 0), counts).with_eos()
