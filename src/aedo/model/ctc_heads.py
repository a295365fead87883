"""CTC heads on encoder layers.  B batch, T frames, D features, V labels of the vocabulary; blank = V."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from aedo.nn.aligned import aligned


class CtcHeads(nn.ModuleDict):
    """Output layers by encoder layer, [B, T, D] -> [B, T, V + 1]; one named `shared` where all layers have the same."""

    def __init__(self, layers: Sequence[int], build: Callable[[], nn.Module], *, shared: bool = False) -> None:
        super().__init__({name: build() for name in (("shared",) if shared and layers else map(str, layers))})
        self.layers = tuple(layers)

    def of(self, layer: int) -> nn.Module:
        """The head of an encoder layer."""
        return self[str(layer)] if str(layer) in self else self["shared"]

    def logits(self, layer: int, states: Tensor) -> Tensor:
        """Those of an encoder layer's output: [B, T, D] -> [B, T, V + 1]."""
        head = self.of(layer)
        logits: Tensor = aligned(head, states) if self.training else head(states)
        return logits
