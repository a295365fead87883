"""The search that a configuration asks for, on encoded utterances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from aedo.model.aed import AED
from aedo.model.decoder import Decoder
from aedo.model.encoder import Encoded
from aedo.search.attention_rewards import AttentionReward, Coverage, Monotonicity
from aedo.search.beam import beam_search
from aedo.search.chunked import chunked_search
from aedo.search.config import OF_DECODER, Kind, SearchConfig
from aedo.search.ctc import ctc_greedy
from aedo.search.ctc_prefix import CtcPrefix
from aedo.search.frames import Frames
from aedo.search.fusion import NOTHING, Fusion
from aedo.search.hypotheses import NBest
from aedo.search.joint import label_search
from aedo.search.joint_time import prefix_search
from aedo.search.rescore import rescored
from aedo.search.scorer import LabelScorer, OfDecoder, PerLabel, Weighted

_FEW = 16
"""Times the labels considered: to score no more than that in full is quicker than to choose among them."""


@torch.inference_mode()
def run_search(model: AED, encoded: Encoded, config: SearchConfig, kind: Kind, fusion: Fusion = NOTHING) -> NBest:
    """The hypotheses of every utterance; what their scores are, the searches say.

    `fusion` holds what the configuration names by `lm`, `prior_scale` and `hotwords`.
    """
    if config.lm_use == "search" or not config.uses("lm", kind) or fusion.lm is None:
        return _found(model, encoded, config, kind, fusion)
    found = _found(model, encoded, config.with_("whole_beam", True), kind, fusion)
    exponent = config.length_normalization if kind == "attention" else 0.0
    return rescored(found, fusion.lm, config.lm_scale, encoded.states.device, exponent)


def _found(model: AED, encoded: Encoded, config: SearchConfig, kind: Kind, fusion: Fusion) -> NBest:
    decoder = model.decoder
    if kind == "ctc_greedy":
        return ctc_greedy(model.ctc_log_probs(encoded), encoded.lengths)
    if model.streaming is not None and kind in OF_DECODER:
        return chunked_search(model, encoded, config, kind)
    if kind == "attention":
        assert decoder is not None
        memory = decoder.memory(encoded)
        return beam_search(
            decoder,
            memory,
            encoded.lengths,
            beam=config.beam,
            length_normalization=config.length_normalization,
            added=_weighted(_added(model, encoded, config, kind, fusion, lambda: _labels_of(decoder, memory))),
        )
    log_probs = model.ctc_log_probs(encoded)
    vocabulary = log_probs.shape[-1] - 1
    scorer = label_scorer(model, encoded, config, kind, fusion, vocabulary)
    if kind == "joint":
        few = config.considered is not None and vocabulary <= _FEW * config.considered
        considered = None if few else config.considered
        frames = Frames.of(log_probs, encoded.lengths, soft_collapse=config.soft_collapse)
        # A prior, coverage, phrases and an internal language model have no bound worth computing.
        unbound = config.coverage_scale or config.internal_lm_scale or config.prior_scale
        unbound = unbound or config.uses("hotwords", kind)
        return label_search(
            scorer or PerLabel.nothing(vocabulary, log_probs.device),
            CtcPrefix.of(frames, exact=considered is None) if config.ctc_scale else None,
            frames.lengths,
            beam=config.beam,
            ctc_scale=config.ctc_scale,
            labels=considered,
            most=max(config.length_reward, 0.0),
            whole_beam=config.whole_beam or bool(unbound),
        )
    frames = Frames.of(log_probs, encoded.lengths, soft_collapse=config.soft_collapse, skip_blank=config.skip_blank)
    return prefix_search(
        frames,
        scorer,
        beam=config.beam,
        ctc_scale=config.ctc_scale if kind == "joint_time" else 1.0,
        recombination=config.recombination,
        symbols=config.considered,
        prune=config.prune,
    )


def label_scorer(
    model: AED, encoded: Encoded, config: SearchConfig, kind: Kind, fusion: Fusion, vocabulary: int
) -> LabelScorer | None:
    """All that scores labels beside CTC, weighted; None where nothing does."""
    parts: list[tuple[float, LabelScorer]] = []
    decoder = model.decoder
    if kind != "ctc_prefix" and decoder is not None:
        rewards: list[tuple[float, AttentionReward]] = []
        if config.coverage_scale:
            rewards.append((config.coverage_scale, Coverage()))
        if config.monotonicity_scale:
            rewards.append((config.monotonicity_scale, Monotonicity()))
        if config.ctc_scale < 1:  # the rewards are relative to the decoder's log probability
            parts.append((1.0 - config.ctc_scale, OfDecoder(decoder, decoder.memory(encoded), tuple(rewards))))
    return _weighted([*parts, *_added(model, encoded, config, kind, fusion, lambda: vocabulary)])


def _added(
    model: AED, encoded: Encoded, config: SearchConfig, kind: Kind, fusion: Fusion, vocabulary: Callable[[], int]
) -> list[tuple[float, LabelScorer]]:
    """What scores labels beside CTC and the decoder, each with its scale."""
    parts: list[tuple[float, LabelScorer]] = []
    decoder, device = model.decoder, encoded.states.device
    if config.internal_lm_scale and kind in OF_DECODER and decoder is not None:
        deaf = decoder.memory(replace(encoded, states=torch.zeros_like(encoded.states)))
        parts.append((-config.internal_lm_scale, OfDecoder(decoder, deaf, score_eos=False)))
    if config.length_reward:
        parts.append((config.length_reward, PerLabel.length(vocabulary(), device)))
    return parts + fusion.parts(config, kind, len(encoded.lengths), device)


def _labels_of(decoder: Decoder[Any, Any], memory: Any) -> int:
    logits, _ = decoder.step(memory, None, decoder.start(memory))
    return int(logits.shape[-1])


def _weighted(parts: list[tuple[float, LabelScorer]]) -> LabelScorer | None:
    return Weighted(parts) if parts else None
