"""The whole model: front-end, encoder, CTC heads, decoder.

B batch, N samples, T encoder frames, V labels of the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from aedo.features.logmel import Features, LogMel
from aedo.model.blstm_frontend import BlstmFrontend
from aedo.model.chunked import Chunked, ChunkedConfig
from aedo.model.chunked_labels import chunk_targets
from aedo.model.ctc_heads import CtcHeads
from aedo.model.decoder import Decoder, DecoderOutput
from aedo.model.encoder import Encoded, Encoder
from aedo.model.frontend import ConvFrontend
from aedo.model.labels import Labels


@dataclass(frozen=True)
class Outputs:
    """Everything the losses look at."""

    encoded: Encoded
    ctc_logits: dict[int, Tensor]
    """By encoder layer: [B, T, V + 1], blank last."""
    decoder: DecoderOutput | None


class AED(nn.Module):
    """Attention encoder-decoder with CTC heads on encoder layers; without a decoder, a CTC model."""

    def __init__(
        self,
        features: LogMel,
        frontend: ConvFrontend | BlstmFrontend,
        encoder: Encoder,
        ctc_heads: CtcHeads,
        decoder: Decoder[Any, Any] | None,
        streaming: ChunkedConfig | None = None,
    ) -> None:
        """`streaming`: the model hears its features in chunks, through a front-end of convolutions."""
        super().__init__()
        self.features, self.frontend, self.encoder = features, frontend, encoder
        self.ctc_heads, self.decoder = ctc_heads, decoder
        self.ctc_layers = ctc_heads.layers
        self.streaming = streaming

    @property
    def chunked(self) -> Chunked | None:
        """How a streaming model hears its features; None: it hears utterances whole."""
        if self.streaming is None:
            return None
        assert isinstance(self.frontend, ConvFrontend)
        return Chunked(self.streaming, self.frontend, self.encoder)

    def forward(self, features: Features, labels: Labels) -> Outputs:
        """Teacher-forced outputs; `labels` carry no EOS.

        The decoder of a streaming model learns which labels end in which chunk: where `labels` do not tell, by the best
        path of its last CTC head.
        """
        encoded = self.encode(features)
        logits = {layer: self.ctc_heads.logits(layer, encoded.layers[layer]) for layer in self.ctc_layers}
        if self.decoder is None:
            return Outputs(encoded, logits, None)
        last = logits[self.ctc_layers[-1]] if self.ctc_layers else None
        return Outputs(encoded, logits, self.decoder(encoded, self._targets(encoded, labels, last)))

    def targets(self, encoded: Encoded, labels: Labels) -> Labels:
        """What the decoder is to say where `labels` are right: them and EOS; of a streaming model, ends of chunks too.

        `Labels.places` tells where the labels stand in it.
        """
        needed = self.streaming is not None and labels.chunks is None
        return self._targets(encoded, labels, self.ctc_log_probs(encoded) if needed else None)

    def _targets(self, encoded: Encoded, labels: Labels, ctc_logits: Tensor | None) -> Labels:
        if self.streaming is None:
            return labels.with_eos()
        return chunk_targets(labels, encoded.lengths, self.streaming.kept, ctc_logits)

    def encode(self, features: Features) -> Encoded:
        """Encoder states, with the layers that carry a CTC head."""
        if self.chunked is not None:
            return self.chunked.encode(features, self.ctc_layers)
        encoded: Encoded = self.encoder(
            self.frontend(features), self.frontend.lengths(features.lengths), self.ctc_layers
        )
        return encoded

    def ctc_log_probs(self, encoded: Encoded, layer: int | None = None) -> Tensor:
        """[B, T, V + 1] float32, blank last, from the head on `layer` (default: the last head)."""
        layer = self.ctc_layers[-1] if layer is None else layer
        logits: Tensor = self.ctc_heads.of(layer)(encoded.layers[layer])
        return logits.float().log_softmax(-1)

    def encoder_frames(self, samples: Tensor) -> Tensor:
        """Encoder frames for a number of samples, [B] -> [B], on the CPU; those at the end of the training."""
        frames = self.features.lengths(samples)
        return self.frontend.lengths(frames) if self.chunked is None else self.chunked.lengths(frames)
