"""Conformer encoder.  B batch, T frames (after the front-end), D features."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator
from torch import Tensor, nn

from aedo.model.chunked import ChunkedConfig
from aedo.model.encoder import Encoder, StackConfig
from aedo.nn.attention import SelfAttention
from aedo.nn.convolution import ConvolutionConfig, ConvolutionModule, Padding
from aedo.nn.dropout import Dropout
from aedo.nn.feedforward import FeedForward
from aedo.nn.norms import BlockNorm, block_norm
from aedo.nn.past import Past
from aedo.nn.recompute import remade


class ConformerConfig(StackConfig):
    kind: Literal["conformer"] = "conformer"
    convolution: ConvolutionConfig = ConvolutionConfig()
    dropout_behind_attention: bool = True
    """Dropout also before the residual sum behind self-attention, where older systems forgot it."""
    streaming: ChunkedConfig | None = None
    """Cut the features into overlapping chunks that see nothing but themselves and a few chunks before, in training
    and recognition alike: a model that can recognise while someone speaks.  None: it hears utterances whole."""

    @model_validator(mode="after")
    def _check_streaming(self) -> ConformerConfig:
        if self.streaming is None:
            return self
        unfit = {
            "chunk": ("is a training on chunks for recognition as a whole", self.chunk is not None),
            "attention.window": ("is a training on windows for recognition as a whole", self.attention.window),
            "pooling": ("lets chunks have other lengths for a while", self.pooling != 1.0),
        }
        for field, (why, there) in unfit.items():
            if there:
                raise ValueError(f"encoder.streaming does not go together with encoder.{field}, which {why}")
        return self

    @property
    def padding(self) -> Padding:
        """Whether results depend on the rest of the batch, as of every encoder."""
        return self.convolution.padding

    def build(self) -> Encoder:
        return self.stack([self._block() for _ in range(self.layers)])

    def _block(self) -> ConformerBlock:
        dim, width = self.dim, self.width
        return ConformerBlock(
            dim,
            (self.feed_forward.build(dim, self.dropout, width), self.feed_forward.build(dim, self.dropout, width)),
            self.attention.build(dim, width),
            self.convolution.build(dim, width),
            self.dropout.build(),
            norm=self.norm,
            dropout_behind_attention=self.dropout_behind_attention,
        )


class ConformerBlock(nn.Module):
    """Half feed-forward, self-attention, convolution, half feed-forward, pre-norm with residuals; a norm at the end.

    Source: Gulati et al. 2020; dropout behind the attention is the "fix245" of the reference.
    """

    def __init__(
        self,
        dim: int,
        feed_forwards: tuple[FeedForward, FeedForward],
        attention: SelfAttention,
        convolution: ConvolutionModule,
        dropout: Dropout,
        *,
        norm: BlockNorm,
        dropout_behind_attention: bool,
    ) -> None:
        super().__init__()
        self.dropout_behind_attention = dropout_behind_attention
        self.ff1, self.ff2 = feed_forwards
        self.attention, self.convolution, self.dropout = attention, convolution, dropout
        self.ff1_norm, self.ff2_norm = block_norm(norm, dim), block_norm(norm, dim)
        self.attention_norm, self.convolution_norm = block_norm(norm, dim), block_norm(norm, dim)
        self.final_norm = block_norm(norm, dim)

    def forward(self, x: Tensor, mask: Tensor, frames: int, past: Past | None = None) -> Tensor:
        """x [B, T, D], mask [B, T], frames: number of valid ones, past of chunks -> [B, T, D]."""
        x = x + 0.5 * self.dropout(remade(self.ff1_norm, self.ff1, x))
        attended = remade(self.attention_norm, lambda y: self.attention(y, mask, past), x)
        x = x + (self.dropout(attended) if self.dropout_behind_attention else attended)
        x = x + self.dropout(remade(self.convolution_norm, lambda y: self.convolution(y, mask, frames, past), x))
        x = x + 0.5 * self.dropout(remade(self.ff2_norm, self.ff2, x))
        y: Tensor = self.final_norm(x)
        return y
