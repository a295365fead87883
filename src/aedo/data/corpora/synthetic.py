"""A synthetic corpus: grammar sentences spoken by espeak-ng in many voices, with light noise and room echo.

Written in LibriSpeech's layout (OUT/SPLIT/SPEAKER/CHAPTER/SPEAKER-CHAPTER-NNNN.flac and .trans.txt).  Speakers and
sentences of train, dev and test are disjoint; the same seed gives the same bytes, whatever the number of processes.
"""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from aedo.data.audio import write_flac
from aedo.data.check import available_cores
from aedo.data.corpora.espeak import Espeak, Voice
from aedo.data.corpora.grammar import sentence, split_of
from aedo.errors import UserError
from aedo.files import explained

SAMPLE_RATE = 16000
SPLITS = ("train", "dev", "test")
_CHAPTER = 40  # utterances; one process speaks one chapter
_ACCENTS = {"en-us": 20, "gmw/en": 20, "gmw/en-GB-x-rp": 8, "gmw/en-GB-scotland": 4}  # voices taken of each accent
_VARIANTS = "m3 f2 m1 f3 adam linda max Annie m7 f5 david belinda m2 f4 edward steph m4 f1 Andy m6"
_Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Size:
    """How much of a split to speak: utterances, or hours of speech (estimated from the sentences, about 5 % off)."""

    utterances: int | None = None
    hours: float | None = None

    @staticmethod
    def parse(text: str) -> Size:
        """ "1500" is utterances, "1.5h" hours.  Raises UserError for anything else."""
        try:
            size = Size(hours=float(text[:-1])) if text.endswith("h") else Size(utterances=int(text))
        except ValueError:
            raise UserError(f"size {text!r}: give a number of utterances (1500) or hours (1.5h)") from None
        if (size.utterances or size.hours or 0) <= 0:
            raise UserError(f"size {text!r}: must be positive; every split needs utterances")
        return size


@dataclass(frozen=True)
class SyntheticOptions:
    train: Size = Size(hours=1.0)
    dev: Size = Size(utterances=60)
    test: Size = Size(utterances=100)
    speakers: int = 40
    """Training speakers, at most 1000; dev and test have others, a fifth as many each (2 to 13)."""
    seed: int = 1
    jobs: int = 0
    """Worker processes; 0: one a core."""


class Speaker(NamedTuple):
    id: str
    split: str
    voice: Voice


class Chapter(NamedTuple):
    """The work of one process: sentences of one speaker."""

    folder: Path
    speaker: Speaker
    number: int
    sentences: tuple[str, ...]
    seed: int


def write_synthetic(
    folder: Path, options: SyntheticOptions, progress: Callable[[int, int], None] = lambda done, total: None
) -> None:
    """Speak the corpus into `folder`, replacing what an earlier call wrote there.

    `progress(done, total)` counts utterances.  Raises UserError: no espeak-ng, too many speakers, unwritable folder.
    """
    speakers = make_speakers(options.speakers, options.seed)
    chapters = plan(folder, options, speakers)
    with explained(folder, "write the corpus there"):
        for split in SPLITS:
            shutil.rmtree(folder / split, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "SPEAKERS.TXT").write_text(_speaker_table(speakers), encoding="utf-8")
    total, done = sum(len(chapter.sentences) for chapter in chapters), 0
    for number in _speak_all(chapters, options.jobs or available_cores()):
        done += number
        progress(done, total)


def _speak_all(chapters: Sequence[Chapter], jobs: int) -> Iterator[int]:
    """Utterances of each chapter as it is done; a fresh process a chapter (see aedo.data.corpora.espeak)."""
    # A fork server makes fresh processes cheap; a pool of processes would wait for ever for one that crashed.
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context: Any = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(["__main__", __name__, "soxr"])
    waiting, running = list(reversed(chapters)), dict[Any, tuple[Chapter, BaseProcess]]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                chapter = waiting.pop()
                receiver, sender = context.Pipe(duplex=False)
                process = context.Process(target=_speak_and_tell, args=(chapter, sender), daemon=True)
                process.start()
                sender.close()
                running[receiver] = chapter, process
            ready: list[Any] = wait(list(running))
            for receiver in ready:
                chapter, process = running.pop(receiver)
                yield _told(receiver, chapter)
                process.join()
    finally:
        for _, process in running.values():
            process.terminate()


def _speak_and_tell(chapter: Chapter, sender: Connection) -> None:
    try:
        sender.send(speak_chapter(chapter))
    except UserError as error:
        sender.send(error)


def _told(receiver: Any, chapter: Chapter) -> int:
    try:
        answer = receiver.recv()
    except EOFError:
        speaker = chapter.speaker
        raise UserError(
            f"espeak-ng crashed in chapter {chapter.number} of speaker {speaker.id} ({speaker.voice.name}); "
            f"run it again, or with another --seed"
        ) from None
    if isinstance(answer, UserError):
        raise answer
    return int(answer)


def make_speakers(number: int, seed: int) -> list[Speaker]:
    """`number` training speakers and a fifth as many (2 to 13) for dev and test each.

    No accent and variant of one split is used in another; more speakers than voices share one at another pitch and
    speed.  Raises UserError for less than 1 or more than 1000.
    """
    if not 1 <= number <= 1000:
        raise UserError(f"--speakers {number}: give 1 to 1000 training speakers")
    names = [f"{accent}+{variant}" for accent, count in _ACCENTS.items() for variant in _VARIANTS.split()[:count]]
    held_out = min(max(2, number // 5), len(names) // 4)
    random = np.random.default_rng([seed, 0])
    names = [names[i] for i in random.permutation(len(names))]
    parts = {"test": names[:held_out], "dev": names[held_out : 2 * held_out], "train": names[2 * held_out :]}
    speakers = []
    for start, split in enumerate(SPLITS, 1):
        for i in range(number if split == "train" else held_out):
            name = parts[split][i % len(parts[split])]
            voice = Voice(
                name,
                pitch=int(random.integers(35, 66)),
                pitch_range=int(random.integers(35, 66)),
                words_per_minute=int(random.integers(135, 176)),
            )
            speakers.append(Speaker(str(1000 * start + i), split, voice))
    return speakers


def plan(folder: Path, options: SyntheticOptions, speakers: Sequence[Speaker]) -> list[Chapter]:
    """Who says what, sentences dealt to the speakers of a split in turn; no sentence is said twice in a split."""
    chapters: list[Chapter] = []
    sizes = {"train": options.train, "dev": options.dev, "test": options.test}
    for index, split in enumerate(SPLITS):
        own = [speaker for speaker in speakers if speaker.split == split]
        random = np.random.default_rng([options.seed, 1, index])
        said: list[list[str]] = [[] for _ in own]
        for turn, text in enumerate(_sentences(split, sizes[split], own, random)):
            said[turn % len(own)].append(text)
        for speaker, texts in zip(own, said, strict=True):
            for number, start in enumerate(range(0, len(texts), _CHAPTER), 1):
                part = tuple(texts[start : start + _CHAPTER])
                chapters.append(Chapter(folder, speaker, number, part, options.seed))
    return chapters


def _sentences(split: str, size: Size, speakers: Sequence[Speaker], random: np.random.Generator) -> list[str]:
    texts: dict[str, None] = {}
    seconds, failures = 0.0, 0
    while len(texts) < size.utterances if size.utterances else seconds < 3600 * (size.hours or 0.0):
        text = sentence(random)
        if split_of(text) != split or text in texts:
            failures += 1  # in a row
            if failures > 1000:
                raise UserError(f"the grammar has too few sentences for that much {split} data; ask for less")
            continue
        failures = 0
        seconds += _estimated_seconds(text, speakers[len(texts) % len(speakers)].voice)
        texts[text] = None
    return list(texts)


def _estimated_seconds(text: str, voice: Voice) -> float:
    return 0.55 + len(text) * 8.5 / voice.words_per_minute


def speak_chapter(chapter: Chapter) -> int:
    """Synthesise one chapter and write its files; returns the number of utterances."""
    import soxr

    speaker, number = chapter.speaker, chapter.number
    folder = chapter.folder / speaker.split / speaker.id / str(number)
    engine = Espeak()
    random = np.random.default_rng([chapter.seed, 2, int(speaker.id), number])
    lines = []
    for i, text in enumerate(chapter.sentences):
        name = f"{speaker.id}-{number}-{i:04d}"
        dry = soxr.resample(engine.speak(text, speaker.voice), engine.rate, SAMPLE_RATE, quality="HQ")
        write_flac(folder / f"{name}.flac", in_room(dry, random), SAMPLE_RATE)
        lines.append(f"{name} {text.upper()}\n")
    with explained(folder, "write the transcripts there"):
        (folder / f"{speaker.id}-{number}.trans.txt").write_text("".join(lines), encoding="utf-8")
    return len(lines)


def in_room(dry: _Samples, random: np.random.Generator) -> _Samples:
    """Pauses around the speech, echo of a room, noise of a microphone.  [N] -> [longer N], peak 0.2 to 0.9.

    The room is a white noise that falls by 60 dB within 0.1 to 0.35 s, 10 to 22 dB below the direct sound in energy;
    the noise is white or falls by 3 dB an octave, 22 to 40 dB below the speech.
    """
    before, after = random.uniform(0.05, 0.25, 2)
    wet = np.pad(dry, (int(before * SAMPLE_RATE), int(after * SAMPLE_RATE))).astype(np.float64)
    reverberation = random.uniform(0.1, 0.35)
    tail = int(reverberation * SAMPLE_RATE)
    response = random.standard_normal(tail) * 10 ** (-3 * np.arange(tail) / tail)
    response *= 10 ** (-random.uniform(10, 22) / 20) / np.sqrt((response**2).sum())
    response[0] += 1.0
    size = 1 << (len(wet) + tail - 1).bit_length()
    spectrum = np.fft.rfft(wet, size) * np.fft.rfft(response, size)
    wet = np.fft.irfft(spectrum, size)[: len(wet)]
    noise = random.standard_normal(size)  # a power of two: other lengths are slow to transform
    if random.random() < 0.5:
        noise = np.fft.irfft(np.fft.rfft(noise) / np.sqrt(np.arange(size // 2 + 1) + 20.0), size)
    noise = noise[: len(wet)]
    noise *= np.sqrt((wet**2).mean() / (noise**2).mean()) * 10 ** (-random.uniform(22, 40) / 20)
    mixed = wet + noise
    return np.asarray(mixed * (random.uniform(0.2, 0.9) / np.abs(mixed).max()), dtype=np.float32)


def _speaker_table(speakers: Sequence[Speaker]) -> str:
    head = "; ID | SUBSET | VOICE | PITCH | PITCH RANGE | WORDS PER MINUTE\n"
    rows = ("{} | {} | {} | {} | {} | {}\n".format(speaker.id, speaker.split, *speaker.voice) for speaker in speakers)
    return head + "".join(rows)
