"""Every kind of front-end, encoder and decoder, as a tiny model: a variant is one line, and joins all their tests."""

from __future__ import annotations

from typing import Any

from aedo.experiment import Experiment
from aedo.nn.rates import rate_fields
from aedo.recipes.names import Draft, resolve

VARIANTS: dict[str, str] = {
    "lstm": "",
    "zoneoutput": "zoneoutput",
    "declstm2": "declstm2",
    "declstm2-zoneoutput": "declstm2-zoneoutput",
    "declstmlm": "declstmlm",
    "decatt3": "decatt3",
    "decatt2-declstm2": "decatt2-declstm2",
    "trafodec": "trafodec2d64",
    "decllama": "trafodec2d64-decllama-embshare",
    "auxdec": "trafodec2d64-auxdec1",
    "decrmsnorm": "trafodec2d64-decrmsnorm",
    "declnnobias": "trafodec2d64-declnnobias",
    "ctconly": "ctconly",
    "blstmf2": "blstmf2d32",
    "cnnblstmf2": "cnnblstmf2d32",
    "down3": "down3",
    "down4": "down4",
    "down8": "down8",
    "relposxl": "relposxl",
    "rotary": "relposrope",
    "nopos": "nopos",
    "qknorm": "qknorm",
    "qkln": "qkln",
    "lnnobias": "lnnobias",
    "rmsnorm": "rmsnorm",
    "ln": "ln",
    "ebranchformer": "ebranchformer",
    "nowfeedback": "nowfeedback",
    "chunkaed": "chunkaed8_4",
    "chunkaed-nowfeedback": "chunkaed5_3-chunkhist4-nowfeedback",
    "chunkaed-ctconly": "chunkaed8_4-ctconly",
}
"""Its tags, behind the base `tiny`, which has 6 feature frames per encoder frame."""

SIZES: dict[str, Any] = {
    "frontend.channels": (4, 8, 8),
    "ctc.layers": (2,),
    "encoder.layers": 2,
    "encoder.dim": 64,
    "encoder.feed_forward.dim": 128,
    "encoder.convolution.kernel": 7,
    "encoder.gating.kernel": 7,
    "decoder.embedding_dim": 32,
    "decoder.attention_dim": 64,
    "decoder.lstm_dim": 64,
    "decoder.readout_dim": 64,
    "decoder.feed_forward.dim": 128,
    "loss.label_smoothing": 0.0,
    "augment.specaugment": None,
}


def tiny(variant: str) -> Experiment:
    """About 200,000 parameters, nothing random in the model."""
    e = Draft.of(resolve("-".join(word for word in ("tiny", VARIANTS[variant]) if word)))
    for path, size in SIZES.items():
        part: Any = e
        for name in path.split("."):
            part = getattr(part, name, None)
        if part is not None:
            e = e.with_(path, size[: len(part)] if isinstance(part, tuple) else size)
    for path, _ in list(rate_fields(e.finish())):
        e = e.with_(path, 0.0)
    return e.finish()
