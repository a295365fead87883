"""A model at work: audio in, text out, batched by padded samples.

B batch, N samples, T encoder frames, U labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from aedo.conventions import EOS
from aedo.data.text import Tokenizer
from aedo.errors import UserError
from aedo.memory import keep_freed_memory
from aedo.model.aed import AED
from aedo.model.encoder import Encoded
from aedo.model.labels import Labels
from aedo.search.config import OF_DECODER, Kind, SearchConfig, check_kind
from aedo.search.fusion import NOTHING, Fusion
from aedo.search.hypotheses import Hypothesis
from aedo.search.precision import Precision, computing, lowered
from aedo.search.run_search import run_search

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Recognition:
    text: str
    """Words separated by single blanks."""
    labels: tuple[int, ...]
    """Of the best hypothesis, without EOS."""
    score: float
    """Attention: mean log probability per label; CTC: log probability of the best frame path; others: their own."""
    hypotheses: tuple[Hypothesis, ...]
    """All that the search kept, the best first; none where the audio is too short for a single frame."""
    attention: npt.NDArray[np.float32] | None = None
    """[U + 1, T] weights of the best hypothesis and its EOS, where asked for."""


_NOTHING = Recognition("", (), 0.0, ())


@dataclass(frozen=True)
class EncodedBatch:
    audible: tuple[int, ...]
    """Which of the utterances given are encoded: those with at least one frame."""
    encoded: Encoded


class Recognizer:
    """Recognises utterances with a trained model, by the search of the configuration or, on request, by CTC alone.

    Audio must be prepared as for the training: mono, at the model's rate, peak-normalised where the model expects it.
    `fusion` holds the language model, prior and phrases that the configuration names.
    """

    def __init__(
        self,
        model: AED,
        tokenizer: Tokenizer,
        config: SearchConfig,
        device: torch.device | str = "cpu",
        *,
        use_ctc: bool = False,
        precision: Precision = "float32",
        fusion: Fusion = NOTHING,
    ) -> None:
        parts = {"decoder": model.decoder is not None, "ctc": bool(model.ctc_layers)}
        self.kind: Kind = "ctc_greedy" if use_ctc else config.kind_for(**parts)
        check_kind(self.kind, **parts)
        self.device, self.precision = torch.device(device), precision
        if self.device.type == "cpu":
            keep_freed_memory()
        self.model = lowered(model.to(self.device).eval(), precision, self.device)
        self.tokenizer, self.config, self.fusion = tokenizer, config, fusion
        self.use_ctc = self.kind not in OF_DECODER

    def recognize(self, audio: Sequence[Samples], *, attention: bool = False) -> list[Recognition]:
        """One result for each utterance ([N] float32), in the order given."""
        results = [_NOTHING] * len(audio)
        lengths = [len(samples) for samples in audio]
        for chosen in batches(lengths, self.config.max_samples, self.config.max_utterances):
            found = self.recognize_batch([audio[i] for i in chosen], attention=attention)
            for i, result in zip(chosen, found, strict=True):
                results[i] = result
        return results

    @torch.inference_mode()
    def recognize_batch(self, audio: Sequence[Samples], *, attention: bool = False) -> list[Recognition]:
        """All utterances padded to the longest, as one batch."""
        results = [_NOTHING] * len(audio)
        batch = self.encode(audio)
        if batch is None:
            return results
        for i, found in zip(batch.audible, self.search(batch.encoded), strict=True):
            results[i] = found
        if attention:
            weights = self._attention(batch.encoded, [results[i].labels for i in batch.audible])
            for row, i in enumerate(batch.audible):
                results[i] = replace(results[i], attention=weights[row])
        return results

    @torch.inference_mode()
    def encode(self, audio: Sequence[Samples]) -> EncodedBatch | None:
        """Those utterances that give an encoder frame, padded to the longest; None where none does."""
        lengths = torch.tensor([len(samples) for samples in audio], dtype=torch.int64)
        audible = (self.model.encoder_frames(lengths) > 0).nonzero()[:, 0].tolist()
        if not audible:
            return None
        lengths = lengths[audible]
        padded = torch.zeros(len(audible), int(lengths.max()))
        for row, i in enumerate(audible):
            padded[row, : len(audio[i])] = torch.from_numpy(audio[i])
        with computing(self.precision, self.device):
            encoded = self.model.encode(self.model.features(padded.to(self.device), lengths))
        return EncodedBatch(tuple(audible), encoded)

    @torch.inference_mode()
    def search(self, encoded: Encoded) -> list[Recognition]:
        """One result for each encoded utterance."""
        with computing(self.precision, self.device):
            found = run_search(self.model, encoded, self.config, self.kind, self.fusion)
        return [self._result(found.hypotheses(row)) for row in range(len(encoded.lengths))]

    def _result(self, hypotheses: tuple[Hypothesis, ...]) -> Recognition:
        if not hypotheses:
            raise UserError(
                "the search found no hypothesis with a finite score; the checkpoint's weights are not finite"
            )
        best = hypotheses[0]
        return Recognition(self.tokenizer.decode(best.labels), best.labels, best.score, hypotheses)

    def _attention(self, encoded: Encoded, labels: list[tuple[int, ...]]) -> list[npt.NDArray[np.float32]]:
        """Weights of each utterance [U + 1, T]: one teacher-forced pass over what was recognised."""
        decoder = self.model.decoder
        if decoder is None:
            raise UserError("this model has no decoder: there is no attention to show")
        lengths = torch.tensor([len(ids) for ids in labels])
        ids = torch.full((len(labels), int(lengths.max())), EOS)
        for row, sequence in enumerate(labels):
            ids[row, : len(sequence)] = torch.tensor(sequence, dtype=torch.int64)
        targets = self.model.targets(encoded, Labels(ids.to(self.device), lengths))
        output = decoder(encoded, targets, keep_attention=True)
        assert output.attention is not None
        weights = output.attention.float().cpu().numpy()  # [N, T], packed
        rows, order = output.packing.rows.cpu().numpy(), output.packing.positions.cpu().numpy()
        frames, places = encoded.lengths.tolist(), targets.places().cpu().numpy()
        return [
            weights[rows == row][np.argsort(order[rows == row])][places[row, : len(ids) + 1], : frames[row]]
            for row, ids in enumerate(labels)
        ]


def batches(lengths: Sequence[int], max_samples: int, max_utterances: int) -> list[list[int]]:
    """Indices of the utterances of each batch, the longest first; utterances x longest stays within `max_samples`.

    An utterance longer than `max_samples` is a batch of its own.
    """
    groups: list[list[int]] = []
    longest = 0
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if not groups or len(groups[-1]) >= max_utterances or (len(groups[-1]) + 1) * longest > max_samples:
            groups.append([])
            longest = lengths[i]
        groups[-1].append(i)
    return groups
