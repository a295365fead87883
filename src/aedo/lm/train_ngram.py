"""An n-gram model from texts to its folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from aedo.errors import UserError
from aedo.files import explained, new_folder
from aedo.lm.arpa import write_arpa
from aedo.lm.kneser_ney import Estimate, estimate
from aedo.lm.load import ARPA, Description
from aedo.lm.ngram import NgramLM
from aedo.lm.perplexity import Perplexity, perplexity_of
from aedo.lm.symbols import Symbols
from aedo.lm.texts import Recogniser, Texts


def train_ngram(
    recogniser: Recogniser, texts: Texts, order: int, out: Path, about: dict[str, Any]
) -> tuple[Estimate, Perplexity]:
    """Estimate, measure, and write the folder `out`, which appears whole.  UserError where it exists."""
    if out.exists():
        raise UserError(f"{out}: exists already; remove it or choose another -o")
    symbols = Symbols.of(recogniser.tokenizer)
    found = estimate(texts.train, symbols.size, order)
    with explained(out, "write the language model"), new_folder(out.absolute()) as folder:
        write_arpa(folder / ARPA, found.orders, symbols)
        measured = perplexity_of(NgramLM.read(folder / ARPA, recogniser.tokenizer), texts.held_out)
        shutil.copytree(recogniser.folder, folder / "tokenizer")
        about = {
            **about,
            "order": order,
            "ngrams": [len(grams.words) for grams in found.orders],
            "discounts": [[round(value, 6) for value in each] for each in found.discounts],
            "perplexity": measured.record(),
        }
        Description(
            kind="ngram",
            vocabulary=symbols.size,
            tokenizer_digest=recogniser.tokenizer.digest,
            about=about,
        ).write(folder)
    return found, measured
