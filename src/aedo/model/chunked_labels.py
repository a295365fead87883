"""What the decoder of a streaming model learns: in every chunk the labels that end there, then the end of the chunk.

B batch, T encoder frames, U labels, M chunks of an utterance, V labels of the vocabulary; end of chunk = EOS.
"""

from __future__ import annotations

import torch
from torch import Tensor

from aedo.conventions import EOS
from aedo.model.labels import Labels
from aedo.nn.ctc_path import best_path


def chunk_targets(labels: Labels, lengths: Tensor, kept: int, ctc_logits: Tensor | None) -> Labels:
    """`labels` with an end of chunk behind those of every chunk.

    lengths [B] encoder frames, on the CPU; kept: frames of a chunk.  Where the labels do not say in which chunk they
    end, the best path of CTC does: ctc_logits [B, T, V + 1].
    """
    chunks = labels.chunks
    if chunks is None:
        if ctc_logits is None:
            raise ValueError("labels do not say in which chunk they end, and there is no CTC head to say it")
        chunks = _last_frames(ctc_logits.detach(), lengths, labels).div(kept, rounding_mode="floor")
    return with_ends(labels, chunks, -(-lengths // kept))


def with_ends(labels: Labels, chunks: Tensor, counts: Tensor) -> Labels:
    """Labels that end in these chunks ([B, U]), with an end of chunk behind each of the chunks (counts [B], CPU)."""
    ids, device = labels.ids, labels.ids.device
    valid = (torch.arange(ids.shape[1]) < labels.lengths[:, None]).to(device, non_blocking=True)
    last = (counts - 1).clamp_min(0).to(device, non_blocking=True)[:, None]
    chunks = torch.minimum(chunks.cummax(1).values, last)  # labels stay in order, whatever their times
    places = torch.arange(ids.shape[1], device=device) + chunks
    lengths = labels.lengths + counts
    width = int(lengths.max())
    places = torch.where(valid, places, width)  # behind the end, in a column that is cut off again
    targets = ids.new_full((len(ids), width + 1), EOS).scatter(1, places, ids)[:, :-1]
    return Labels(targets, lengths)


@torch.no_grad()
def _last_frames(logits: Tensor, lengths: Tensor, labels: Labels) -> Tensor:
    """[B, U] the frame in which each label of the best path ends; 0 where there is none."""
    path, _, _ = best_path(logits.float().log_softmax(-1), lengths, labels.ids, labels.lengths)  # [B, T]
    frames = torch.arange(path.shape[1], device=path.device)
    frames = torch.where(frames < lengths.to(path.device, non_blocking=True)[:, None], frames, 0)
    slots = torch.where(path % 2 == 1, path.div(2, rounding_mode="floor"), labels.ids.shape[1])
    found = path.new_zeros(len(path), labels.ids.shape[1] + 1).scatter_reduce(1, slots, frames, "amax")
    return found[:, :-1]


def chunks_of(targets: Labels) -> Labels:
    """The way back: targets with their ends of chunks -> labels that know their chunks.  Waits for the device."""
    ids, lengths = targets.ids.cpu(), targets.lengths
    valid = torch.arange(ids.shape[1]) < lengths[:, None]
    proper = valid & (ids != EOS)
    counts = proper.sum(1)
    slots = torch.where(proper, proper.cumsum(1) - 1, int(counts.max()))
    chunk = ((ids == EOS) & valid).cumsum(1)

    def packed(x: Tensor) -> Tensor:
        return x.new_zeros(len(x), int(counts.max()) + 1).scatter(1, slots, x.masked_fill(~proper, 0))[:, :-1]

    device = targets.ids.device
    return Labels(packed(ids).to(device), counts, packed(chunk).to(device))
