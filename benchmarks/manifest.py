"""Opening a large manifest, against lhotse's own eager load of the same file, in the same run.

    python benchmarks/manifest.py [--utterances 300000]

Writes the manifest into a temporary folder.  Each way is measured in a process of its own, which first imports what it
needs: the time is that of opening alone, the memory is the peak of the whole process.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

COMMON = """
import json, resource, sys, time
from pathlib import Path

def report(seconds, utterances):
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    print(json.dumps({"seconds": seconds, "megabytes": kilobytes / 1024, "utterances": utterances}))

path = Path(sys.argv[1])
"""

AEDO = """
import lhotse.serialization
from aedo.data.manifest import Manifest

begin = time.perf_counter()
manifest = Manifest.open(path.parent, path.stem)
seconds = time.perf_counter() - begin
for i in range(0, len(manifest), len(manifest) // 1000 or 1):
    manifest.cut(i)
report(seconds, len(manifest))
"""

LHOTSE = """
from lhotse import CutSet

begin = time.perf_counter()
cuts = CutSet.from_jsonl(path)
seconds = time.perf_counter() - begin
report(seconds, len(cuts))
"""

WORDS = ("THE", "OF", "AND", "TO", "A", "IN", "THAT", "HE", "WAS", "UPON", "LITTLE", "NEVER", "COUNTRY", "MORNING")


def write(path: Path, utterances: int) -> None:
    """As many utterances as asked for, shaped like LibriSpeech's."""
    rng = random.Random(0)
    with open(path, "w", encoding="utf-8") as file:
        for number in range(utterances):
            speaker, chapter = str(100 + number // 200), str(100_000 + number // 20)
            name = f"{speaker}-{chapter}-{number % 20:04}"
            samples = rng.randrange(32_000, 272_000)
            duration = samples / 16_000
            text = " ".join(rng.choices(WORDS, k=max(1, round(duration * 2.7))))
            source = f"/corpora/LibriSpeech/train-clean-360/{speaker}/{chapter}/{name}.flac"
            supervision = {
                "id": name, "recording_id": name, "start": 0, "duration": duration, "channel": 0,
                "text": text, "speaker": speaker,
            }  # fmt: skip
            recording = {
                "id": name, "sources": [{"type": "file", "channels": [0], "source": source}],
                "sampling_rate": 16_000, "num_samples": samples, "duration": duration, "channel_ids": [0],
            }  # fmt: skip
            cut = {
                "id": name, "start": 0, "duration": duration, "channel": 0, "supervisions": [supervision],
                "recording": recording, "type": "MonoCut",
            }  # fmt: skip
            file.write(json.dumps(cut) + "\n")


def measure(script: str, path: Path) -> dict[str, float]:
    result = subprocess.run(
        [sys.executable, "-c", COMMON + script, str(path)], check=True, stdout=subprocess.PIPE, text=True
    )
    measured: dict[str, float] = json.loads(result.stdout)
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=300_000)
    utterances = parser.parse_args().utterances
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.jsonl"
        write(path, utterances)
        print(f"{utterances} utterances, {path.stat().st_size / 1e6:.0f} MB of JSON lines")
        ways = {
            "aedo, first time (makes the index)": measure(AEDO, path),
            "aedo, from then on": measure(AEDO, path),
            "lhotse CutSet.from_jsonl, eager": measure(LHOTSE, path),
        }
    peer = ways["lhotse CutSet.from_jsonl, eager"]
    for name, way in ways.items():
        assert way["utterances"] == utterances
        time, memory = (way[key] / peer[key] for key in ("seconds", "megabytes"))
        print(
            f"{name:36} {way['seconds']:8.3f} s {way['megabytes']:5.0f} MB   "
            f"ratio to lhotse: time {time:.4f}, memory {memory:.2f}"
        )


if __name__ == "__main__":
    main()
