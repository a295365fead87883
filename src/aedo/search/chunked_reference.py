"""The original's beam search of a streaming model: label by label, whatever chunk each hypothesis has come to.

B utterances, K hypotheses, V labels, U labels so far; end of chunk = EOS.

It compares hypotheses that have heard more with others that have heard less, so that it needs all of the audio; it is
here to compare with the original's results, and `search/chunked.py` is what recognition uses.
"""

from __future__ import annotations

import torch
from torch import Tensor

from aedo.conventions import EOS
from aedo.model.chunked_decoder import ChunkedLstmDecoder, ChunkedMemory
from aedo.search.hypotheses import NBest


@torch.inference_mode()
def chunked_reference_search(
    decoder: ChunkedLstmDecoder, memory: ChunkedMemory, limits: Tensor, *, beam: int, length_normalization: float = 0.0
) -> NBest:
    """Hypotheses with their ends of chunks, but for the one that ends all; limits [B] of their labels, on the CPU.

    Scores are S / steps^e, where the steps are those of the whole batch.
    """
    batch, device = len(limits), memory.last.device
    limits = limits.to(device)
    logits, state = decoder.step(memory, None, decoder.start(memory))
    scores = torch.zeros(batch, 1, device=device)
    labels, lengths = limits.new_zeros(batch, 1, 0), limits.new_zeros(batch, 1)
    ended = torch.zeros(batch, 1, dtype=torch.bool, device=device)
    rows, step = torch.arange(batch, device=device), 0
    silence = torch.full((logits.shape[-1],), float("-inf"), device=device)
    silence[EOS] = 0.0
    while True:
        step += 1
        log_probs = torch.where(ended[..., None], silence, logits.float().log_softmax(-1))
        totals = (scores[..., None] + log_probs).flatten(1)
        scores, chosen = totals.topk(min(beam, totals.shape[1]), -1)
        back, label = chosen.div(logits.shape[-1], rounding_mode="floor"), chosen % logits.shape[-1]
        at_last = state.chunk.gather(1, back) == memory.last[:, None]
        ended = ended.gather(1, back) | ((label == EOS) & at_last) | (limits <= step)[:, None]
        lengths = lengths.gather(1, back) + (~ended).long()
        labels = torch.cat([labels.gather(1, back[..., None].expand(-1, -1, step - 1)), label[..., None]], -1)
        if bool(ended.all()):
            break
        if step > 1:  # scores of those that have ended go on being means over as many labels as the others have
            scores = torch.where(ended, scores * (step / (step - 1)) ** length_normalization, scores)
        logits, state = decoder.step(memory, label, state.gather(rows, back))
    return NBest(labels.cpu(), lengths.cpu(), (scores / step**length_normalization).cpu(), step)
