"""Searches against each other on a trained run: errors and time, in the same process.

    python benchmarks/search.py RUN [--set dev] [--batch 20] [--only attention,joint]

Prints for every search the WER and, over what is behind the encoder, the seconds of processor time for a second of
audio and their ratio to the search by attention.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from aedo.data.audio import samples_of
from aedo.data.manifest import Manifest
from aedo.run import RunFolder
from aedo.score.tables import table
from aedo.score.wer import Pair, score
from aedo.search.choose import preferred, recognizer_of, search_of
from aedo.search.config import NAMES
from aedo.search.recognize import batches
from aedo.search.run_search import run_search

VARIANTS: dict[str, dict[str, object]] = {
    "attention": {},
    "ctc": {},
    "ctc-prefix": {},
    "joint": {},
    "joint ctc 0.5": {"ctc_scale": 0.5},
    "joint collapsed": {"soft_collapse": 0.8},
    "joint-time": {},
    "joint-time fast": {"soft_collapse": 0.9, "prune": 12.0, "considered": 20},
    "joint-time fast max": {"soft_collapse": 0.9, "prune": 12.0, "considered": 20, "recombination": "max"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--set", default="dev")
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--checkpoint", default="")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    run = RunFolder.open(options.run)
    checkpoint = run.checkpoint(options.checkpoint) if options.checkpoint else preferred(run)
    recognizer, experiment = recognizer_of(run, checkpoint), run.experiment()
    manifest = Manifest.open(Path(run.info["data"]), options.set)
    cuts = [manifest.cut(i) for i in range(len(manifest))]
    audio = [samples_of(cut, experiment.audio) for cut in cuts]
    groups = batches([len(x) for x in audio], recognizer.config.max_samples, options.batch)
    encoded = [recognizer.encode([audio[i] for i in chosen]) for chosen in groups]
    seconds = sum(len(x) for x in audio) / experiment.audio.sample_rate

    rows, first = [], None
    for name, settings in VARIANTS.items():
        kind = NAMES[name.split()[0]]
        if options.only and name not in options.only.split(","):
            continue
        config = search_of(run)
        for field, value in settings.items():
            config = config.with_(field, value)
        begin, texts = time.process_time(), {}
        with torch.inference_mode():
            for chosen, batch in zip(groups, encoded, strict=True):
                assert batch is not None
                found = run_search(recognizer.model, batch.encoded, config, kind)
                for row, place in enumerate(batch.audible):
                    texts[chosen[place]] = recognizer.tokenizer.decode(found.hypotheses(row)[0].labels)
        spent = time.process_time() - begin
        first = spent if first is None else first
        pairs = [Pair(cut.id, "", cut.supervisions[0].text or "", texts[i]) for i, cut in enumerate(cuts)]
        wer = score(pairs).as_json()["wer"]
        rows.append((name, f"{wer:.2f}", f"{spent / seconds:.4f}", f"{spent / first:.2f}"))
        print(rows[-1], flush=True)
    print(table(("search", "WER %", "CPU s / audio s", "ratio"), rows))


if __name__ == "__main__":
    main()
