"""The audio of an utterance: samples for the model, and a short playable clip inside the page.  N samples."""

from __future__ import annotations

import base64
import io
from typing import Any, NamedTuple

import numpy as np
import soundfile

from aedo.data.audio import AudioProblem, Samples, decode, mono, peak_normalized

RATE = 16000
LONGEST = 20.0
"""Seconds of a clip; longer utterances are cut."""


class Clip(NamedTuple):
    """Playable audio, or the reason why there is none."""

    uri: str | None
    note: str
    """Says why there is no clip or that it was cut; empty where there is nothing to say."""


class Budget:
    """Bytes of audio a page may still take."""

    def __init__(self, megabytes: float) -> None:
        self.left = int(megabytes * 1e6)


def utterance_samples(line: dict[str, Any], rate: int) -> Samples:
    """Mono [N] at `rate` of a line of SET.jsonl.  Raises AudioProblem."""
    path = line.get("audio")
    if not isinstance(path, str) or not path:
        raise AudioProblem("the results name no audio file")
    decoded = decode(path)
    duration = line.get("duration")
    if duration is not None and len(decoded.samples) / decoded.rate > float(duration) + 0.1:
        raise AudioProblem(f"the utterance is a part of {path}; the results do not say which")
    return mono(decoded, rate)


def clip(line: dict[str, Any], budget: Budget) -> Clip:
    """The utterance as FLAC in a data URI, made equally loud, where the budget allows it."""
    try:
        samples = utterance_samples(line, RATE)
    except AudioProblem as error:
        return Clip(None, f"no audio: {error}")
    cut = len(samples) > LONGEST * RATE
    samples = samples[: int(LONGEST * RATE)]
    if not np.isfinite(samples).all() or not np.abs(samples).max(initial=0.0):
        return Clip(None, "no audio: it is silent or not finite")
    buffer = io.BytesIO()
    soundfile.write(buffer, 0.9 * peak_normalized(samples), RATE, format="FLAC", subtype="PCM_16")
    text = base64.b64encode(buffer.getvalue()).decode("ascii")
    if len(text) > budget.left:
        return Clip(None, "no audio: the page's limit is used up (--audio-mb)")
    budget.left -= len(text)
    return Clip(f"data:audio/flac;base64,{text}", f"first {LONGEST:g} s" if cut else "")
