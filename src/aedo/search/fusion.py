"""What has a say in a search beside the model: a language model, the prior of CTC's labels, context phrases.

B batch, V labels of the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from aedo.search.config import Kind, SearchConfig
from aedo.search.hotwords import PhraseAutomaton, PhraseScorer
from aedo.search.scorer import LabelScorer, PerLabel


class LanguageModel(Protocol):
    """log p(next label | labels so far), of all V labels with EOS."""

    def scorer(self, batch: int, device: torch.device) -> LabelScorer:
        """For a batch of B utterances."""
        ...


@dataclass(frozen=True)
class Fusion:
    """All that goes along with a model; what a search's configuration has no use for is left alone."""

    lm: LanguageModel | None = None
    log_prior: Tensor | None = None
    """[V] of the labels; 0 for EOS, which CTC does not have."""
    phrases: PhraseAutomaton | None = None

    def parts(
        self, config: SearchConfig, kind: Kind, batch: int, device: torch.device
    ) -> list[tuple[float, LabelScorer]]:
        """Each with its scale, for one batch."""
        parts: list[tuple[float, LabelScorer]] = []
        if config.uses("lm", kind) and config.lm_use == "search":
            if self.lm is None:
                raise ValueError(f"search.lm is {config.lm}, but no language model was loaded")
            parts.append((config.lm_scale, self.lm.scorer(batch, device)))
        if config.uses("prior", kind):
            if self.log_prior is None:
                raise ValueError("search.prior_scale is set, but no prior was loaded")
            parts.append((-config.prior_scale, PerLabel(self.log_prior.to(device))))
        if config.uses("hotwords", kind):
            if self.phrases is None:
                raise ValueError("search.hotwords are given, but were not compiled")
            parts.append((config.hotword_bias, PhraseScorer(self.phrases.to(device), batch)))
        return parts


NOTHING = Fusion()
