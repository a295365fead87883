"""A long recording against its own utterances: word error rate, memory against length, and where words lie.

    python benchmarks/long_recording.py --run RUN --data DATA --minutes 10 30 60 [--seed 1] [--set dev]

Utterances of a prepared set, in random order and again and again, are put behind each other with pauses between them:
silence, faint noise, and now and then ten seconds of louder noise.  Then the recording is transcribed as a file, each
length in a process of its own.  Peer: the same recogniser on the same utterances, one by one.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile

RATE = 16000
PEAK = 0.3
FAINT = 10 ** (-55 / 20)
LOUD = 10 ** (-35 / 20)
NAN = float("nan")


class Placed(NamedTuple):
    cut: int
    start: float
    end: float
    text: str


def pink(samples: int, level: float, random: np.random.Generator) -> np.ndarray:
    """Noise whose power falls with frequency, as that of rooms does; `level` is its root mean square."""
    spectrum = np.fft.rfft(random.standard_normal(samples))
    noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), samples)
    return (noise * level / np.sqrt(np.mean(noise**2))).astype(np.float32)


def pause(random: np.random.Generator) -> np.ndarray:
    kind = random.random()
    if kind < 0.03:
        return pink(10 * RATE, LOUD, random)
    samples = int(random.uniform(0.8, 3.0) * RATE)
    return np.zeros(samples, np.float32) if kind < 0.2 else pink(samples, FAINT, random)


def record(cuts: list[Any], minutes: float, seed: int, path: Path) -> list[Placed]:
    """Write the recording and say what is where."""
    from aedo.data.audio import AudioConfig, samples_of

    random, placed, there, order = np.random.default_rng(seed), [], 0, []
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        while there < minutes * 60 * RATE:
            order = order or random.permutation(len(cuts)).tolist()
            number = order.pop()
            quiet = pause(random)
            speech = samples_of(cuts[number], AudioConfig()) * np.float32(PEAK)
            file.write(np.concatenate([quiet, speech]))
            start = there + len(quiet)
            there = start + len(speech)
            placed.append(Placed(number, start / RATE, there / RATE, cuts[number].supervisions[0].text))
    return placed


def child(run: str, audio: str, precision: str, search: str) -> None:
    """Transcribe and print words, seconds and peak memory; without audio, only load."""
    import aedo

    transcriber = aedo.load(run, device="cpu", precision=precision, search=search)
    transcriber.transcribe(np.zeros(RATE, np.float32))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    begin, begin_cpu = time.perf_counter(), time.process_time()
    found = transcriber.transcribe(audio)
    spent = {"wall": time.perf_counter() - begin, "cpu": time.process_time() - begin_cpu}
    words = [(w.text, w.start, w.end, w.confidence) for w in found.words]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    doubts = [[s.start, s.end, s.doubt] for s in found.doubts]
    print(json.dumps({"words": words, "loaded": before, "peak": peak, "doubts": doubts, **spent}))


def transcribed(args: argparse.Namespace, audio: Path) -> dict[str, Any]:
    words = [sys.executable, __file__, "--child", str(audio), "--run", str(args.run), "--precision", args.precision]
    done = subprocess.run([*words, "--search", args.search], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))


class Known(NamedTuple):
    word: str
    utterance: Placed
    start: float
    """Seconds from the beginning of the recording, by forced alignment of the utterance alone."""
    end: float


def aligned_alone(transcriber: Any, cuts: list[Any]) -> dict[int, list[Any]]:
    """The words of every cut with their times in it, by forced alignment of its text; none where it does not fit."""
    from aedo.data.audio import samples_of
    from aedo.search.align_texts import CannotAlign, Utterance, align_texts, check_fit, labels_of

    recognizer, rate, found = transcriber.recognizer, transcriber.audio.sample_rate, {}
    for number, cut in enumerate(cuts):
        try:
            labels = labels_of(recognizer.tokenizer, cut.supervisions[0].text)
            utterance = Utterance(cut.id, samples_of(cut, transcriber.audio), labels)
            check_fit(recognizer, utterance, rate)
            found[number] = list(align_texts(recognizer, [utterance], rate)[0].words)
        except CannotAlign:
            continue
    return found


def compared(placed: list[Placed], words: list[list[Any]], alone: dict[int, list[Any]]) -> dict[str, Any]:
    """Of the right words: how many lie in the utterance they belong to, and how far from where they are in it alone."""
    import kaldialign

    ref = [
        Known(
            word,
            p,
            *((p.start + alone[p.cut][i].start, p.start + alone[p.cut][i].end) if p.cut in alone else (NAN,) * 2),
        )
        for p in placed
        for i, word in enumerate(p.text.split())
    ]
    pairs = kaldialign.align([known.word for known in ref], [str(word[0]) for word in words], "*")
    i = j = inside = 0
    away: list[tuple[float, float]] = []
    for a, b in pairs:
        if a == b:
            start, end = words[j][1], words[j][2]
            inside += ref[i].utterance.start - 0.1 <= (start + end) / 2 <= ref[i].utterance.end + 0.1
            away.append((abs(start - ref[i].start), abs(end - ref[i].end)))
        i += a != "*"
        j += b != "*"
    middle, high = np.nanpercentile(np.array(away), (50, 95), axis=0) if away else np.full((2, 2), NAN)
    return {
        "right_words_inside_their_utterance": f"{inside} of {len(away)}",
        "seconds_from_alignment_alone": {
            "median": {"start": round(float(middle[0]), 3), "end": round(float(middle[1]), 3)},
            "95 %": {"start": round(float(high[0]), 3), "end": round(float(high[1]), 3)},
        },
    }


def main(args: argparse.Namespace) -> None:
    import aedo
    from aedo.data.audio import samples_of
    from aedo.data.manifest import Manifest
    from aedo.score.wer import Pair, score

    manifest = Manifest.open(args.data, args.set)
    cuts = [manifest.cut(i) for i in range(len(manifest))]
    transcriber = aedo.load(args.run, device="cpu", precision=args.precision, search=args.search)
    single = transcriber.recognizer.recognize([samples_of(cut, transcriber.audio) for cut in cuts])
    alone = aligned_alone(transcriber, cuts)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for minutes in sorted(args.minutes):
            path = Path(folder) / "long.wav"
            placed = record(cuts, minutes, args.seed, path)
            found = transcribed(args, path)
            text = " ".join(str(word[0]) for word in found["words"])
            whole = score([Pair("all", "", " ".join(p.text for p in placed), text)])
            apart = score([Pair(str(i), "", p.text, single[p.cut].text) for i, p in enumerate(placed)])
            rows.append(
                {
                    "minutes": round(placed[-1].end / 60, 2),
                    "utterances": len(placed),
                    "words": whole.total.words,
                    "wer_recording": round(whole.wer, 3),
                    "wer_utterances": round(apart.wer, 3),
                    "ratio": round(whole.wer / apart.wer, 4) if apart.wer else None,
                    "peak_mb": round(found["peak"]),
                    "loaded_mb": round(found["loaded"]),
                    "cpu_seconds": round(found["cpu"], 1),
                    "real_time_factor_cpu": round(found["cpu"] / placed[-1].end, 5),
                    **compared(placed, found["words"], alone),
                    "doubts": found["doubts"],
                }
            )
            print(json.dumps(rows[-1]), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--set", default="dev")
    parser.add_argument("--minutes", type=float, nargs="+", default=[7.5, 30.0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--search", default="")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(str(given.run), given.child, given.precision, given.search)
    elif given.data is None:
        parser.error("--data: which prepared folder?")
    else:
        main(given)
