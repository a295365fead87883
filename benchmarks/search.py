"""Searches against each other: errors and time, in the same process.

    python benchmarks/search.py table RUN [--set dev] [--batch 20] [--variant "NAME: SEARCH SETTING=VALUE ..."]
    python benchmarks/search.py speed RUN [--searches attention,joint] [--beams 1,4,12,32] [--batches 1,4,16]
    python benchmarks/search.py full [--searches attention,joint] [--seconds 10] [--beam 12] [--threads 1]

table: WER with its interval, and processor time for a second of audio with the encoder, of each search on a trained
run; the searches take turns, and the best of `--repeat` rounds counts.  speed: seconds of audio searched in a second,
behind the encoder.  full: seconds for one utterance, behind the encoder, by a decoder of the full size (12 x 512, 10025
labels) with random weights, which follows CTC frames that say about four labels a second.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from aedo.data.audio import samples_of
from aedo.data.manifest import Manifest
from aedo.model.aed import AED
from aedo.model.encoder import Encoded
from aedo.recipes.names import resolve
from aedo.run import RunFolder
from aedo.score.tables import table
from aedo.score.wer import Pair, score
from aedo.search.choose import preferred, recognizer_of
from aedo.search.config import NAMES, Kind, SearchConfig
from aedo.search.recognize import EncodedBatch, Recognizer, batches
from aedo.search.run_search import run_search

VARIANTS = (
    "attention: attention",
    "ctc, best path: ctc",
    "ctc, prefixes: ctc-prefix",
    "joint: joint",
    "joint-time: joint-time",
    "joint-time, fast: joint-time soft_collapse=0.9 prune=12 considered=20",
)
VOCABULARY = 10025


@dataclass
class Variant:
    name: str
    kind: Kind
    settings: dict[str, Any]

    @classmethod
    def parse(cls, text: str) -> Variant:
        name, _, rest = text.partition(":")
        search, *settings = rest.split()
        found: dict[str, Any] = {}
        for one in settings:
            field, _, value = one.partition("=")
            try:
                found[field] = json.loads(value)
            except ValueError:
                found[field] = value
        return cls(name.strip(), NAMES[search], found)


@dataclass
class Set:
    """A set, encoded."""

    ids: list[str]
    speakers: list[str]
    texts: list[str]
    groups: list[list[int]]
    encoded: list[EncodedBatch]
    seconds: float
    encoding: float
    """Processor seconds."""


def encoded_set(recognizer: Recognizer, run: RunFolder, name: str, batch: int) -> Set:
    manifest, config = Manifest.open(Path(run.info["data"]), name), run.experiment().audio
    cuts = [manifest.cut(i) for i in range(len(manifest))]
    audio = [samples_of(cut, config) for cut in cuts]
    groups = batches([len(x) for x in audio], recognizer.config.max_samples, batch)
    begin = time.process_time()
    found = [recognizer.encode([audio[i] for i in chosen]) for chosen in groups]
    spent = time.process_time() - begin
    return Set(
        [cut.id for cut in cuts],
        [cut.supervisions[0].speaker or "" for cut in cuts],
        [cut.supervisions[0].text or "" for cut in cuts],
        groups,
        [one for one in found if one is not None],
        sum(len(x) for x in audio) / config.sample_rate,
        spent,
    )


def search_set(recognizer: Recognizer, data: Set) -> dict[int, str]:
    texts = {}
    for chosen, batch in zip(data.groups, data.encoded, strict=True):
        for place, result in zip(batch.audible, recognizer.search(batch.encoded), strict=True):
            texts[chosen[place]] = result.text
    return texts


def print_table(options: argparse.Namespace) -> None:
    run = RunFolder.open(options.run)
    checkpoint = run.checkpoint(options.checkpoint) if options.checkpoint else preferred(run)
    variants = [Variant.parse(text) for text in options.variant or VARIANTS]
    recognizers = [recognizer_of(run, checkpoint, kind=one.kind, settings=one.settings) for one in variants]
    data = encoded_set(recognizers[0], run, options.set, options.batch)
    spent = [float("inf")] * len(variants)
    found: list[dict[int, str]] = [{}] * len(variants)
    for _ in range(options.repeat):
        for i, recognizer in enumerate(recognizers):
            begin = time.process_time()
            found[i] = search_set(recognizer, data)
            spent[i] = min(spent[i], time.process_time() - begin)
    rows = []
    for one, texts, seconds in zip(variants, found, spent, strict=True):
        scored = score(
            Pair(data.ids[i], data.speakers[i], data.texts[i], texts.get(i, "")) for i in range(len(data.ids))
        )
        totals = scored.as_json()
        wer = f"{totals['wer']:.2f} [{totals['wer_low']:.2f}, {totals['wer_high']:.2f}]"
        factor = (data.encoding + seconds) / data.seconds
        rows.append((one.name, wer, f"{factor:.4f}", f"{seconds / data.seconds:.4f}", f"{seconds / spent[0]:.2f}"))
    print(
        f"{checkpoint.label}, {options.set}: {len(data.ids)} utterances, {data.seconds:.0f} s, {options.batch} a batch"
    )
    print(table(("search", "WER %", "with encoder", "search alone", "to the first"), rows))


def print_speed(options: argparse.Namespace) -> None:
    run = RunFolder.open(options.run)
    checkpoint = run.checkpoint(options.checkpoint) if options.checkpoint else preferred(run)
    beams = [int(beam) for beam in options.beams.split(",")]
    rows = []
    for search in options.searches.split(","):
        for size in map(int, options.batches.split(",")):
            cells = []
            for beam in beams:
                recognizer = recognizer_of(run, checkpoint, kind=NAMES[search], beam=beam)
                data = encoded_set(recognizer, run, options.set, size)
                best = min(_timed(lambda: search_set(recognizer, data)) for _ in range(options.repeat))  # noqa: B023
                cells.append(f"{data.seconds / best:.0f}")
            rows.append((search, str(size), *cells))
            print(rows[-1], flush=True)
    print(table(("search", "batch", *(f"beam {beam}" for beam in beams)), rows))


def full_model(seconds: float) -> tuple[AED, Encoded]:
    """A model with random weights, and encoder states of an utterance; its CTC head says what they spell."""
    torch.manual_seed(1)
    experiment = resolve("24gb-v6")
    model = experiment.build_model(VOCABULARY).eval()
    frames = int(model.encoder_frames(torch.tensor([int(16000 * seconds)])))
    states = torch.randn(1, frames, experiment.encoder.dim)
    log_probs = 2 * torch.randn(1, frames, VOCABULARY + 1)
    log_probs[..., -1] += 18.0
    labels = torch.randint(2, VOCABULARY, (round(4 * seconds),))
    for i, label in enumerate(labels.tolist()):
        log_probs[0, (2 * i + 1) * frames // (2 * len(labels)), label] += 28.0
    log_probs = log_probs.log_softmax(-1)
    model.ctc_log_probs = lambda encoded, layer=None: log_probs  # type: ignore[method-assign]
    mask = torch.ones(1, frames, dtype=torch.bool)
    return model, Encoded(states, torch.tensor([frames]), mask, {})


def print_full(options: argparse.Namespace) -> None:
    torch.set_num_threads(options.threads)
    model, encoded = full_model(options.seconds)
    rows = []
    for search in options.searches.split(","):
        config, kind = SearchConfig(beam=options.beam, **json.loads(options.settings)), NAMES[search]
        found = run_search(model, encoded, config, kind)  # once for whatever is made on first use
        best = min(_timed(lambda: run_search(model, encoded, config, kind)) for _ in range(options.repeat))  # noqa: B023
        length = len(found.hypotheses(0)[0].labels)
        rows.append((search, str(length), str(found.steps), f"{best:.3f}", f"{1000 * best / max(1, found.steps):.1f}"))
    print(
        f"{options.seconds} s of audio, {len(encoded.mask[0])} frames, beam {options.beam}, {options.threads} threads"
    )
    print(table(("search", "labels", "steps", "seconds", "ms a step"), rows))


def _timed(work: Callable[[], object]) -> float:
    """Wall seconds; on a busy machine the processor's are the fairer ones."""
    begin = _clock()
    work()
    return _clock() - begin


_clock = time.perf_counter


def main() -> None:
    global _clock
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    for name, work in (("table", print_table), ("speed", print_speed), ("full", print_full)):
        verb = verbs.add_parser(name)
        verb.set_defaults(work=work)
        verb.add_argument("--repeat", type=int, default=3)
        verb.add_argument("--processor", action="store_true", help="processor time instead of the clock on the wall")
        if name == "full":
            verb.add_argument("--seconds", type=float, default=10.0)
            verb.add_argument("--beam", type=int, default=12)
            verb.add_argument("--threads", type=int, default=1)
            verb.add_argument("--settings", default="{}", help="JSON")
        else:
            verb.add_argument("run", type=Path)
            verb.add_argument("--set", default="dev")
            verb.add_argument("--checkpoint", default="")
        if name == "table":
            verb.add_argument("--batch", type=int, default=20)
            verb.add_argument("--variant", action="append")
        else:
            verb.add_argument("--searches", default="attention,joint")
        if name == "speed":
            verb.add_argument("--beams", default="1,4,12,32")
            verb.add_argument("--batches", default="1,4,16")
    options = parser.parse_args(sys.argv[1:] or ["full"])
    if options.processor:
        _clock = time.process_time
    with torch.inference_mode():
        options.work(options)


if __name__ == "__main__":
    main()
