"""Language models on the disk.

OUT/
  lm.json              kind, tokenizer, sizes, what it was trained on, perplexities
  lm.arpa.gz           of an n-gram model
  model.safetensors    of a Transformer
  tokenizer/           the recogniser's, self-contained
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator
from safetensors.torch import save as safetensors_bytes

from aedo.config import Part
from aedo.data.text import Tokenizer
from aedo.errors import UserError
from aedo.files import write_text
from aedo.lm.ngram import NgramLM
from aedo.lm.transformer_lm import TransformerLM, TransformerLmConfig
from aedo.run import load_weights

DESCRIPTION, ARPA, WEIGHTS = "lm.json", "lm.arpa.gz", "model.safetensors"
SETTINGS = "training.json"
"""Of a Transformer that has been, or is being, trained here."""

LanguageModel = NgramLM | TransformerLM
"""p(label | labels before): `scorer(utterances, device)` scores a batch, as `aedo.search.scorer.LabelScorer`."""


class Description(Part):
    """The contents of lm.json."""

    format: Literal[1] = 1
    kind: Literal["ngram", "transformer"]
    vocabulary: int = Field(ge=2)
    """Labels, EOS included."""
    tokenizer_digest: str
    transformer: TransformerLmConfig | None = None
    """Sizes of a Transformer."""
    about: dict[str, Any] = Field(default_factory=dict)
    """Texts, how they were normalised, options, perplexities: for the reader."""

    @model_validator(mode="after")
    def _check(self) -> Description:
        if (self.transformer is None) == (self.kind == "transformer"):
            raise ValueError(f"transformer: a model of kind {self.kind} has {'one' if self.transformer else 'none'}")
        return self

    @classmethod
    def read(cls, folder: Path) -> Description:
        """UserError where `folder` holds no language model."""
        path = folder / DESCRIPTION
        try:
            return cls.model_validate(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            if (folder / SETTINGS).is_file():
                raise UserError(f"{folder}: not trained to the end; give the aedo train-lm command again") from None
            raise UserError(f"{folder}: no language model: it has no {DESCRIPTION}; aedo train-lm makes one") from None
        except (OSError, ValueError, ValidationError) as error:
            raise UserError(f"{path}: not the description of a language model of this version ({error})") from None

    def write(self, folder: Path) -> None:
        write_text(folder / DESCRIPTION, json.dumps(self.model_dump(mode="json"), ensure_ascii=False, indent=1) + "\n")


def load_lm(path: Path, tokenizer: Tokenizer) -> LanguageModel:
    """The language model at `path`: a folder that `aedo train-lm` wrote, or an ARPA file over the tokenizer's labels.

    UserError where there is none, or it belongs to another tokenizer.
    """
    if not path.is_dir():
        return NgramLM.read(path, tokenizer)
    description = Description.read(path)
    if description.tokenizer_digest != tokenizer.digest or description.vocabulary != tokenizer.size:
        raise UserError(
            f"{path}: made for another tokenizer ({description.vocabulary} labels, {description.tokenizer_digest}) "
            f"than the recogniser's ({tokenizer.size} labels, {tokenizer.digest}); make one for it with "
            "aedo train-lm TEXT --run RUN"
        )
    if description.transformer is None:
        return NgramLM.read(path / ARPA, tokenizer)
    model = description.transformer.build(description.vocabulary)
    model.load_state_dict(load_weights(path / WEIGHTS, model.state_dict()))
    return model.eval()


def write_transformer(
    folder: Path, model: TransformerLM, config: TransformerLmConfig, tokenizer_digest: str, about: dict[str, Any]
) -> Description:
    """Weights and description into `folder`, the description last."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    (folder / WEIGHTS).write_bytes(safetensors_bytes(tensors))
    description = Description(
        kind="transformer",
        vocabulary=model.vocabulary,
        tokenizer_digest=tokenizer_digest,
        transformer=config,
        about=about,
    )
    description.write(folder)
    return description
