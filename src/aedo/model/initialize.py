"""How all parameters of a model start."""

from __future__ import annotations

import math
from typing import Literal

from torch import nn

from aedo.config import Part
from aedo.model.transformer_decoder import TransformerDecoder
from aedo.nn.attention import SelfAttention
from aedo.nn.embedding import TargetEmbedding
from aedo.nn.lstm import ZoneoutLstm


class InitializationConfig(Part):
    kind: Literal["glorot", "torch"] = "glorot"
    """glorot: uniform on whole matrices, zero biases (the reference); torch: the defaults of torch's layers."""

    def __call__(self, model: nn.Module) -> None:
        """Initialise a model that stands as it was built, with Glorot's values."""
        if self.kind == "torch":
            reset_like_torch(model)


def reset_like_torch(model: nn.Module) -> None:
    """Draw linear layers, convolutions, LSTMs and embeddings anew, from torch's own distributions.

    Weights and biases of linear layers and convolutions: uniform, limit 1 / sqrt(fan in); of LSTMs: 1 / sqrt(units);
    embeddings: normal.  Kept are norms, tables and biases of relative positions, an embedding whose spread was asked
    for, and the factor of the variance of queries, keys and values.
    """
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.LSTM)):
            module.reset_parameters()
        elif isinstance(module, ZoneoutLstm):
            for parameter in module.parameters():
                nn.init.uniform_(parameter, -1 / math.sqrt(module.units), 1 / math.sqrt(module.units))
        elif isinstance(module, TargetEmbedding) and module.std is None:
            nn.init.normal_(module.weight)
    for module in model.modules():
        if isinstance(module, SelfAttention):
            module.qkv.weight.data.mul_(math.sqrt(module.init_scale))
        elif isinstance(module, TransformerDecoder):
            module.copy_output_to_heads()
