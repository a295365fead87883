"""CTC heads on encoder layers and their loss.  B batch, T frames, U labels, V labels of the vocabulary; blank = V."""

from __future__ import annotations

from torch import Tensor, nn

from aedo.config import Part
from aedo.nn.init import linear


class CtcConfig(Part):
    layers: tuple[int, ...] = (4, 8)
    """Encoder layers (from 1) with a CTC head; the last one is the head used for recognition."""
    scales: tuple[float, ...] | float = 1.0
    """Weight of each head's loss, or one for all."""
    eos: bool = False
    """Append EOS to the targets, as the original did by mistake; needed only for parity."""

    def scale(self, layer: int) -> float:
        return self.scales if isinstance(self.scales, float) else self.scales[self.layers.index(layer)]

    def build(self, dim: int, vocabulary: int) -> nn.ModuleDict:
        return nn.ModuleDict({str(layer): linear(dim, vocabulary + 1) for layer in self.layers})


def ctc_loss(log_probs: Tensor, lengths: Tensor, labels: Tensor, label_lengths: Tensor) -> Tensor:
    """Negative log-likelihood per utterance; 0 where the labels cannot fit the frames.

    log_probs [B, T, V + 1] (blank last), lengths [B], labels [B, U], label_lengths [B] -> [B] float32.  Lengths live on
    the CPU.
    Source: Graves et al. 2006.
    """
    return nn.functional.ctc_loss(
        log_probs.float().transpose(0, 1),
        labels,
        lengths,
        label_lengths,
        blank=log_probs.shape[-1] - 1,
        reduction="none",
        zero_infinity=True,
    )
