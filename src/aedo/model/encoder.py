"""What all encoders share: their common settings, the stack of blocks, and what comes out.

B batch, T frames (after the front-end), D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Annotated, Literal

from pydantic import Field, model_validator
from torch import Tensor, nn

from aedo.config import Part
from aedo.nn.advance import END
from aedo.nn.attention import SelfAttentionConfig
from aedo.nn.dropout import DropoutConfig, kept_layers
from aedo.nn.feedforward import FeedForwardConfig
from aedo.nn.masks import length_mask
from aedo.nn.norms import BlockNorm
from aedo.nn.past import Past
from aedo.nn.pooling import pool_time
from aedo.nn.rates import values_of
from aedo.nn.windows import Chunks
from aedo.schedule import Progress, Scheduled, Steps, value_at


class StackConfig(Part):
    """The settings every kind of encoder has."""

    layers: int = Field(12, ge=1)
    dim: int = Field(512, ge=1)
    feed_forward: FeedForwardConfig = FeedForwardConfig()
    attention: SelfAttentionConfig = SelfAttentionConfig()
    norm: BlockNorm = "layer"
    """The norms in front of a block's parts and at its end."""
    dropout: DropoutConfig = DropoutConfig()
    """After the front-end, inside the feed-forward networks and before every residual sum."""
    layer_drop: float = Field(0.0, ge=0, lt=1)
    """Probability that a training step passes over a block, drawn for each of them."""
    growth: tuple[tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]], ...] = ()
    """The training's first stages, as (length, layers in use from below); behind them, all layers are in use."""
    growth_unit: Literal["micro_step", "epoch"] = "micro_step"
    """In what the lengths of the stages are counted: micro-steps or sub-epochs."""
    width: Scheduled = 1.0
    """Share of each block's heads, hidden units and convolution channels in use over the training."""
    pooling: Scheduled = 1.0
    """Frames of the front-end of which training takes the maximum before the first block."""
    chunk: int | None = Field(None, ge=1)
    """Frames of the chunks that training cuts utterances into; recognition sees them whole."""

    @model_validator(mode="after")
    def _check(self) -> StackConfig:
        if any(not 0 < share <= 1 for share in values_of(self.width)) or value_at(self.width, END) != 1:
            raise ValueError(f"width must lie between 0 and 1 and end at 1: {self.width}")
        if any(factor < 1 for factor in values_of(self.pooling)) or value_at(self.pooling, END) != 1:
            raise ValueError(f"pooling must be at least 1 and end there: {self.pooling}")
        if self.attention.position.kind == "rotary" and self.dim // self.attention.heads % 2:
            raise ValueError(
                f"rotary positions need heads of even size, not dim {self.dim} / heads {self.attention.heads}"
            )
        return self

    def stack(self, blocks: Sequence[nn.Module]) -> Encoder:
        """The encoder of these blocks, from below."""
        return Encoder(blocks, self.depth(), self.pooling, self.chunk, self.layer_drop)

    def depth(self) -> Steps:
        """Layers in use over the training."""
        ends = accumulate(length for length, _ in self.growth)
        layers = (*(min(n, self.layers) for _, n in self.growth), self.layers)
        return Steps(unit=self.growth_unit, nodes=tuple(ends), values=layers)


@dataclass(frozen=True)
class Encoded:
    """What the encoder knows of a batch."""

    states: Tensor
    """[B, T, D], output of the top layer."""
    lengths: Tensor
    """[B] int64, on the CPU, in encoder frames."""
    mask: Tensor
    """[B, T] bool on the model's device, True on valid frames."""
    layers: dict[int, Tensor]
    """Outputs of the layers asked for, by their number counted from 1."""

    def select(self, rows: Tensor) -> Encoded:
        """The utterances at `rows` ([R] int64, CPU)."""
        here = rows.to(self.states.device)
        layers = {number: states[here] for number, states in self.layers.items()}
        return Encoded(self.states[here], self.lengths[rows], self.mask[here], layers)


class Encoder(nn.Module):
    """A stack of blocks, of which the lower ones alone are in use where a training grows its encoder.

    A block maps (x [B, T, D], mask [B, T], number of valid frames) to [B, T, D].  Where a training pools in front of
    the stack, frames get fewer by as much: for a while, CTC has no room for some utterances, whose loss is then 0.
    """

    def __init__(
        self,
        blocks: Sequence[nn.Module],
        depth: Steps,
        pooling: Scheduled = 1.0,
        chunk: int | None = None,
        layer_drop: float = 0.0,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(blocks)
        self.depth, self.in_use = depth, len(blocks)
        self.pooling, self.pooled, self.chunk, self.layer_drop = pooling, 1, chunk, layer_drop

    def advance(self, progress: Progress) -> None:
        """Use as many layers and pool as many frames as belong to this point of the training."""
        self.in_use, self.pooled = round(self.depth.at(progress)), round(value_at(self.pooling, progress))

    def forward(self, x: Tensor, lengths: Tensor, collect: tuple[int, ...] = ()) -> Encoded:
        """x [B, T, D], lengths [B] on the CPU; `collect`: numbers (from 1) of the layers whose output is wanted.

        For a layer that is not in use yet, or passed over, this is the output of the highest one in use below it.
        """
        if self.pooled > 1:
            x, lengths = pool_time(x, lengths, self.pooled)
        if self.chunk is None or not self.training:
            return self._run(x, lengths, collect)
        chunks = Chunks(lengths, x.shape[1], self.chunk, x.device)
        alone = self._run(chunks.cut(x), chunks.lengths, collect)
        layers = {number: chunks.stitch(states) for number, states in alone.layers.items()}
        return Encoded(chunks.stitch(alone.states), lengths, length_mask(lengths, x.shape[1], x.device), layers)

    def see(self, x: Tensor, lengths: Tensor, past: Past, collect: tuple[int, ...] = ()) -> Encoded:
        """Chunks x [W, C, D] that see a past, lengths [W] on the CPU."""
        return self._run(x, lengths, collect, past)

    def _run(self, x: Tensor, lengths: Tensor, collect: tuple[int, ...], past: Past | None = None) -> Encoded:
        mask, frames = length_mask(lengths, x.shape[1], x.device), int(lengths.sum())
        collected: dict[int, Tensor] = {}
        kept = kept_layers(len(self.layers), self.layer_drop if self.training else 0.0)
        for number, block in enumerate(self.layers, start=1):
            if number <= self.in_use and kept[number - 1]:
                x = block(x, mask, frames) if past is None else block(x, mask, frames, past)
            if number in collect:
                collected[number] = x
        return Encoded(x, lengths, mask, collected)
