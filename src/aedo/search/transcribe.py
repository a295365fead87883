"""Recordings of any length to words with times and confidence.

B batch, N samples, T encoder frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy.typing as npt
import torch

from aedo.data.audio import AudioConfig, AudioProblem, peak_normalized
from aedo.data.stream import stream_array, stream_file
from aedo.errors import UserError
from aedo.memory import give_back
from aedo.model.encoder import Encoded
from aedo.search.alignment import Alignment, align, frames_needed
from aedo.search.confidence import Calibration, raw_confidence
from aedo.search.ctc import ctc_greedy
from aedo.search.doubts import doubt
from aedo.search.evidence import Spoken, decoder_log_probs, padded, spoken_words
from aedo.search.heard import heard_parts
from aedo.search.precision import computing
from aedo.search.recognize import Recognition, Recognizer, batches
from aedo.search.segments import Cutting, Piece, Samples, speech_pieces
from aedo.search.words import Word, samples_per_frame

if TYPE_CHECKING:
    from aedo.stream.engine import StreamEngine
    from aedo.stream.session import StreamResult

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Segment:
    """A piece of a recording that was recognised by itself."""

    start: float
    """Seconds."""
    end: float
    words: tuple[Word, ...]
    score: float
    """As the search gives it."""
    doubt: str = ""
    """Why the search's own words were not believed; those here are of the best CTC path then, where there is one."""

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)


@dataclass(frozen=True)
class Transcript:
    segments: tuple[Segment, ...]
    """Those in which anything was said, in order and without overlap."""
    seconds: float
    """Length of the recording."""
    calibrated: bool
    """Whether confidences are calibrated on data."""

    @property
    def text(self) -> str:
        return " ".join(segment.text for segment in self.segments)

    @property
    def words(self) -> tuple[Word, ...]:
        return tuple(word for segment in self.segments for word in segment.words)

    @property
    def doubts(self) -> tuple[Segment, ...]:
        """The segments whose own words were not believed."""
        return tuple(segment for segment in self.segments if segment.doubt)


class Understood(NamedTuple):
    """One utterance."""

    result: Recognition
    """Of the search, or the best CTC path."""
    doubt: str
    """Why the search was not believed, if so."""
    words: list[Spoken]


class Transcriber:
    """A recogniser with all that surrounds it: cutting, times, confidence, and an eye on what the decoder makes up."""

    def __init__(
        self,
        recognizer: Recognizer,
        audio: AudioConfig,
        calibration: Calibration | None = None,
        cutting: Cutting | None = None,
        origin: dict[str, Any] | None = None,
    ) -> None:
        self.recognizer, self.audio, self.calibration = recognizer, audio, calibration
        self.origin = origin or {}  # which checkpoint and search: what a calibration is made for
        self.cutting = cutting or Cutting()
        self._frame = samples_per_frame(recognizer.model)

    def transcribe(
        self, audio: str | Path | npt.ArrayLike, sample_rate: int | None = None, *, progress: Progress | None = None
    ) -> Transcript:
        """The words in a file of any format, rate and channel count, or in samples [N] or [N, C] at `sample_rate`.

        Memory does not grow with the length of a file, but for the words.  Every piece is peak-normalised on its own
        where the model expects it.  `progress` gets the seconds read so far.  Without `sample_rate`, samples are
        taken to be at the model's rate.

        Raises UserError where the audio cannot be used.
        """
        try:
            return self._transcribe(audio, sample_rate, progress)
        except AudioProblem as problem:
            name = str(audio) if isinstance(audio, (str, Path)) else "samples"
            raise UserError(f"{name}: {problem.reason}") from problem

    def stream(
        self, pieces: Iterable[npt.ArrayLike | bytes], sample_rate: int | None = None, *, endpoint: float | None = None
    ) -> Iterator[StreamResult]:
        """Words as they become final, of audio that comes in pieces: float [N], int16 [N], or bytes of 16-bit PCM.

        For models that hear their audio in chunks.  The words are those of the whole audio recognised at once.
        endpoint: seconds of silence that end an utterance.  docs/streaming.md.  Raises UserError for another model
        or rate, and for a bad piece when what came before it has been recognised.
        """
        from aedo.stream.python import stream_pieces

        return stream_pieces(self.streams(), pieces, sample_rate, endpoint)

    def streams(self) -> StreamEngine:
        """The model ready for any number of streams: `aedo.stream.session.Stream`, `aedo.stream.batch.StreamBatch`."""
        from aedo.stream.engine import StreamEngine  # streams are built on searches, and not the other way round

        return StreamEngine(self.recognizer, self.audio)

    def _transcribe(
        self, audio: str | Path | npt.ArrayLike, sample_rate: int | None, progress: Progress | None
    ) -> Transcript:
        rate = self.audio.sample_rate
        if isinstance(audio, (str, Path)):
            if sample_rate is not None:
                raise UserError(f"{audio}: a file knows its own rate; leave sample_rate={sample_rate} out")
            stream = stream_file(audio, rate)
        else:
            stream = stream_array(audio, rate if sample_rate is None else sample_rate, rate)
        counter = _Counter(stream, rate, progress)
        found: list[Segment] = []
        for group in _groups(speech_pieces(counter, rate, self.cutting), self.recognizer.config.max_samples):
            found += [segment for segment in self._recognized(group) if segment.words]
        return Transcript(tuple(found), counter.samples / rate, self.calibration is not None)

    def _recognized(self, pieces: Sequence[Piece]) -> list[Segment]:
        """One segment a piece, in order; pieces that are silent in part to the CTC head are cut once more first."""
        found: list[Segment] = []
        again: list[Piece] = []
        for together, encoded in self._encoded(pieces):
            heard = self._heard(together, encoded)
            whole = [
                row
                for row, parts in enumerate(heard)
                if [len(p.samples) for p in parts] == [len(together[row].samples)]
            ]
            if whole:
                found += self._segments([together[row] for row in whole], encoded.select(torch.tensor(whole)))
            again += [part for row, parts in enumerate(heard) if row not in whole for part in parts]
        for together, encoded in self._encoded(again):
            found += self._segments(together, encoded)
        return sorted(found, key=lambda segment: segment.start)

    def _encoded(self, pieces: Sequence[Piece]) -> Iterator[tuple[list[Piece], Encoded]]:
        """Batches of those pieces that give an encoder frame."""
        config = self.recognizer.config
        samples = [peak_normalized(p.samples) if self.audio.peak_normalize else p.samples for p in pieces]
        for chosen in batches([len(p.samples) for p in pieces], config.max_samples, config.max_utterances):
            batch = self.recognizer.encode([samples[i] for i in chosen])
            if batch is not None:
                yield [pieces[chosen[position]] for position in batch.audible], batch.encoded
            del batch
            give_back()

    @torch.inference_mode()
    def _heard(self, pieces: Sequence[Piece], encoded: Encoded) -> list[list[Piece]]:
        """The parts of every piece in which the CTC head hears something; the pieces where there is none to ask."""
        recognizer, rate = self.recognizer, self.audio.sample_rate
        if not recognizer.model.ctc_layers:
            return [[piece] for piece in pieces]
        with computing(recognizer.precision, recognizer.device):
            log_probs = recognizer.model.ctc_log_probs(encoded)
        heard = heard_parts(log_probs, encoded.lengths, self._frame / rate)
        return [[piece.part(*part, rate) for part in parts] for piece, parts in zip(pieces, heard, strict=True)]

    def _segments(self, pieces: Sequence[Piece], encoded: Encoded) -> list[Segment]:
        rate = self.audio.sample_rate
        found = []
        for piece, heard in zip(pieces, self.understood(encoded), strict=True):
            here = Segment(piece.start / rate, (piece.start + len(piece.samples)) / rate, (), heard.result.score)
            words = tuple(self._word(word, here) for word in heard.words)
            found.append(replace(here, words=words, doubt=heard.doubt))
        return found

    def understood(self, encoded: Encoded) -> list[Understood]:
        """The search's result for every utterance, or what is to be believed in its place."""
        results, reasons = self._believed(encoded, self.recognizer.search(encoded))
        spoken = self._evidence(encoded, results)
        return [Understood(*parts) for parts in zip(results, reasons, spoken, strict=True)]

    @torch.inference_mode()
    def _evidence(self, encoded: Encoded, results: Sequence[Recognition]) -> list[list[Spoken]]:
        """The words of every result, with their frames and what speaks for them."""
        recognizer = self.recognizer
        labels = padded([result.labels for result in results])
        with computing(recognizer.precision, recognizer.device):
            decoder = None if recognizer.use_ctc else decoder_log_probs(recognizer.model, encoded, labels)
            alignment: Alignment | None = None
            if recognizer.model.ctc_layers:
                log_probs = recognizer.model.ctc_log_probs(encoded)
                alignment = align(log_probs, encoded.lengths, labels.ids, labels.lengths)
        return spoken_words(recognizer.tokenizer, labels, alignment, decoder)

    @torch.inference_mode()
    def _believed(self, encoded: Encoded, results: list[Recognition]) -> tuple[list[Recognition], list[str]]:
        """The results with those of the best CTC path in place of what nobody can have said, and the reasons.

        Where the CTC head hears nothing at all, nothing was said.
        """
        recognizer = self.recognizer
        if not recognizer.model.ctc_layers:
            return results, [self._doubt(result, None, int(n)) for result, n in zip(results, encoded.lengths)]
        with computing(recognizer.precision, recognizer.device):
            greedy = ctc_greedy(recognizer.model.ctc_log_probs(encoded), encoded.lengths)
        believed, reasons = [], []
        for row, result in enumerate(results):
            (best,) = greedy.hypotheses(row)
            heard = Recognition(recognizer.tokenizer.decode(best.labels), best.labels, best.score, (best,))
            reason = self._doubt(result, heard, int(encoded.lengths[row])) if heard.labels else ""
            believed.append(heard if reason or not heard.labels else result)
            reasons.append(reason)
        return believed, reasons

    def _doubt(self, result: Recognition, heard: Recognition | None, frames: int) -> str:
        labels = padded([result.labels])
        needed = int(frames_needed(labels.ids, labels.lengths)) if heard else len(result.labels)
        return doubt(
            result.text.split(),
            heard.text.split() if heard else (),
            len(result.labels),
            needed,
            frames,
            frames * self._frame / self.audio.sample_rate,
        )

    def _word(self, word: Spoken, segment: Segment) -> Word:
        seconds = self._frame / self.audio.sample_rate
        start = None if word.start is None else segment.start + word.start * seconds
        end = None if word.stop is None else min(segment.end, segment.start + word.stop * seconds)
        sure = raw_confidence(word.evidence) if self.calibration is None else self.calibration(word.evidence)
        return Word(word.text, start, end, sure)


class _Counter:
    """Blocks passed on, counted and reported."""

    def __init__(self, blocks: Iterator[Samples], rate: int, progress: Progress | None) -> None:
        self.blocks, self.rate, self.progress, self.samples = blocks, rate, progress, 0

    def __iter__(self) -> Iterator[Samples]:
        for block in self.blocks:
            self.samples += len(block)
            yield block
            if self.progress is not None:  # when it has been used
                self.progress(self.samples / self.rate)


def _groups(pieces: Iterator[Piece], max_samples: int) -> Iterator[list[Piece]]:
    """Pieces to be decoded together: as many as hold `max_samples` in all."""
    group: list[Piece] = []
    size = 0
    for piece in pieces:
        if group and size + len(piece.samples) > max_samples:
            yield group
            group, size = [], 0
        group.append(piece)
        size += len(piece.samples)
    if group:
        yield group
