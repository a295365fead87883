"""What the model's two voices say about label sequences: where each word lies, and how likely both find it.

B batch, T frames, U labels, N packed labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from aedo.conventions import EOS
from aedo.data.text import Tokenizer
from aedo.model.aed import AED
from aedo.model.encoder import Encoded
from aedo.model.labels import Labels
from aedo.search.alignment import Alignment
from aedo.search.confidence import Evidence
from aedo.search.words import NO_WORD, words_of_labels


class Spoken(NamedTuple):
    """One word of a label sequence."""

    text: str
    start: int | None
    """First encoder frame; None without a CTC head and where the labels do not fit."""
    stop: int | None
    """One past the last."""
    evidence: Evidence


def padded(sequences: Sequence[Sequence[int]]) -> Labels:
    """Label sequences side by side, EOS behind the end."""
    lengths = torch.tensor([len(ids) for ids in sequences], dtype=torch.int64)
    ids = torch.full((len(sequences), max(1, int(lengths.max()))), EOS, dtype=torch.int64)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence, dtype=torch.int64)
    return Labels(ids, lengths)


@torch.inference_mode()
def decoder_log_probs(model: AED, encoded: Encoded, labels: Labels) -> Tensor | None:
    """[B, U] float32 on the CPU: log probability of each label behind those before it; None without a decoder."""
    if model.decoder is None:
        return None
    device = encoded.states.device
    ids = labels.ids[:, : max(1, int(labels.lengths.max()))].to(device)
    targets = model.targets(encoded, Labels(ids, labels.lengths))
    output = model.decoder(encoded, targets)
    log_probs = output.logits.float().log_softmax(-1).gather(1, output.targets[:, None])[:, 0]  # [N]
    found = log_probs.new_zeros(targets.ids.shape)
    found[output.packing.rows, output.packing.positions] = log_probs
    inside = torch.arange(ids.shape[1], device=device) < labels.lengths.to(device)[:, None]
    return found.gather(1, targets.places()[:, : ids.shape[1]]).masked_fill(~inside, 0.0).cpu()


def spoken_words(
    tokenizer: Tokenizer, labels: Labels, alignment: Alignment | None, decoder: Tensor | None
) -> list[list[Spoken]]:
    """The words of every sequence with their frames and what speaks for them.

    decoder [B, U] as `decoder_log_probs` gives it.
    """
    return [
        _words_of_one(
            tokenizer,
            ids[:length],
            None if alignment is None or not alignment.fits[row] else _rows(alignment, row),
            None if decoder is None else decoder[row].tolist(),
        )
        for row, (ids, length) in enumerate(zip(labels.ids.tolist(), labels.lengths.tolist(), strict=True))
    ]


class _Frames(NamedTuple):
    starts: list[int]
    stops: list[int]
    peaks: list[float]


def _rows(alignment: Alignment, row: int) -> _Frames:
    return _Frames(*(values[row].tolist() for values in (alignment.starts, alignment.stops, alignment.peaks)))


def _words_of_one(
    tokenizer: Tokenizer, ids: list[int], frames: _Frames | None, decoder: list[float] | None
) -> list[Spoken]:
    texts = tokenizer.decode(ids).split()
    members: list[list[int]] = [[] for _ in texts]
    for position, word in enumerate(words_of_labels(tokenizer, ids)):
        if word != NO_WORD:
            members[word].append(position)
    found = []
    for text, inside in zip(texts, members, strict=True):
        evidence = Evidence(
            None if frames is None else min(frames.peaks[i] for i in inside),
            None if decoder is None else sum(decoder[i] for i in inside),
        )
        start = None if frames is None else frames.starts[inside[0]]
        stop = None if frames is None else frames.stops[inside[-1]]
        found.append(Spoken(text, start, stop, evidence))
    return found
