"""The search that a configuration asks for, on encoded utterances."""

from __future__ import annotations

from dataclasses import replace

import torch

from aedo.model.aed import AED
from aedo.model.encoder import Encoded
from aedo.search.attention_rewards import AttentionReward, Coverage, Monotonicity
from aedo.search.beam import beam_search
from aedo.search.config import Kind, SearchConfig
from aedo.search.ctc import ctc_greedy
from aedo.search.ctc_prefix import CtcPrefix
from aedo.search.frames import Frames
from aedo.search.hypotheses import NBest
from aedo.search.joint import label_search
from aedo.search.joint_time import prefix_search
from aedo.search.scorer import LabelScorer, OfDecoder, PerLabel, Weighted


@torch.inference_mode()
def run_search(model: AED, encoded: Encoded, config: SearchConfig, kind: Kind) -> NBest:
    """The hypotheses of every utterance; what their scores are, the searches say."""
    decoder = model.decoder
    if kind == "ctc_greedy":
        return ctc_greedy(model.ctc_log_probs(encoded), encoded.lengths)
    if kind == "attention":
        assert decoder is not None
        return beam_search(
            decoder,
            decoder.memory(encoded),
            encoded.lengths,
            beam=config.beam,
            length_normalization=config.length_normalization,
        )
    log_probs = model.ctc_log_probs(encoded)
    if kind == "joint":
        frames = Frames.of(log_probs, encoded.lengths, soft_collapse=config.soft_collapse)
        return label_search(
            joint_scorer(model, encoded, config),
            CtcPrefix.of(frames) if config.ctc_scale else None,
            frames.lengths,
            beam=config.beam,
            ctc_scale=config.ctc_scale,
            labels=config.considered if config.ctc_scale < 1 else None,  # a decoder without a say has no best labels
            most=max(config.length_reward, 0.0),
            # Coverage and an internal language model have no bound worth computing.
            whole_beam=config.whole_beam or bool(config.coverage_scale or config.internal_lm_scale),
        )
    frames = Frames.of(log_probs, encoded.lengths, soft_collapse=config.soft_collapse, skip_blank=config.skip_blank)
    return prefix_search(
        frames,
        joint_scorer(model, encoded, config) if kind == "joint_time" else None,
        beam=config.beam,
        ctc_scale=config.ctc_scale if kind == "joint_time" else 1.0,
        recombination=config.recombination,
        symbols=config.considered,
        prune=config.prune,
    )


def joint_scorer(model: AED, encoded: Encoded, config: SearchConfig) -> LabelScorer:
    """All that scores labels beside CTC, weighted."""
    decoder = model.decoder
    assert decoder is not None
    memory = decoder.memory(encoded)
    rewards: list[tuple[float, AttentionReward]] = []
    if config.coverage_scale:
        rewards.append((config.coverage_scale, Coverage()))
    if config.monotonicity_scale:
        rewards.append((config.monotonicity_scale, Monotonicity()))
    parts: list[tuple[float, LabelScorer]] = [(1.0 - config.ctc_scale, OfDecoder(decoder, memory, tuple(rewards)))]
    if config.internal_lm_scale:
        deaf = decoder.memory(replace(encoded, states=torch.zeros_like(encoded.states)))
        parts.append((-config.internal_lm_scale, OfDecoder(decoder, deaf, score_eos=False)))
    if config.length_reward:
        vocabulary = model.ctc_log_probs(encoded).shape[-1] - 1
        parts.append((config.length_reward, PerLabel.length(vocabulary, encoded.states.device)))
    return Weighted(parts)
