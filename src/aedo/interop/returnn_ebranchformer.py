"""Names and layouts of the E-Branchformer's own parts in RETURNN's PyTorch checkpoints; the rest is a Conformer's."""

from __future__ import annotations

import re

# Our name below `encoder.layers.N.` (a pattern) -> RETURNN's.
_NAMES: tuple[tuple[str, str], ...] = (
    (r"gating\.hidden\.(weight|bias)", r"cgmlp.linear_ff.\1"),
    (r"gating\.gate_norm\.weight", r"cgmlp.norm.scale"),
    (r"gating\.gate_norm\.bias", r"cgmlp.norm.bias"),
    (r"gating\.depthwise\.weight", r"cgmlp.conv.filter"),
    (r"gating\.depthwise\.bias", r"cgmlp.conv.bias"),
    (r"gating\.out\.(weight|bias)", r"cgmlp.linear_out.\1"),
    (r"gating_norm\.weight", r"cgmlp_layer_norm.scale"),
    (r"gating_norm\.bias", r"cgmlp_layer_norm.bias"),
    (r"merge\.depthwise\.weight", r"merge.depthwise_conv_fusion.filter"),
    (r"merge\.depthwise\.bias", r"merge.depthwise_conv_fusion.bias"),
    (r"merge\.out\.(weight|bias)", r"merge.merge_proj.\1"),
)


def ebranchformer_name(name: str) -> tuple[str, bool] | None:
    """RETURNN's name of a parameter and whether the matrix is transposed there; None for all other parameters."""
    block = re.fullmatch(r"(encoder\.layers\.\d+)\.(.+)", name)
    if not block:
        return None
    for pattern, replacement in _NAMES:
        match = re.fullmatch(pattern, block[2])
        if match:
            foreign = f"{block[1]}.{match.expand(replacement)}"
            return foreign, foreign.endswith(".weight")
    return None
