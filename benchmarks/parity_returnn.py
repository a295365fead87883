"""The same weights in aedo and in RETURNN from PyPI, on the same utterances: equal hypotheses, scores and WER.

    python benchmarks/parity_returnn.py --run runs/an4-... --data data/an4 [--split dev] [--behavior-version 24]

RUN is a training of any length with the LSTM decoder; DATA a prepared folder.  RETURNN is installed into an
environment of its own (kept in --env, by default in the user's cache), which borrows torch from this one.  A behavior
version below 23 has the original's padding, which depends on the batch; aedo then computes the same weights so, too.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aedo.data.audio import samples_of
from aedo.data.manifest import Manifest
from aedo.errors import UserError
from aedo.experiment import Experiment
from aedo.interop.folder import export_run
from aedo.model.lstm_decoder import LstmDecoderConfig
from aedo.nn.norms import BatchNormConfig
from aedo.nn.positions import ClippedPositionsConfig
from aedo.run import RunFolder
from aedo.score.wer import Pair, Score, compare, score
from aedo.search.recognize import Recognizer, batches

PEER = Path(__file__).parent / "peers" / "returnn_decode.py"
PACKAGES = ("returnn", "dm-tree")
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "aedo" / "returnn-env"


def environment(folder: Path) -> Path:
    """The interpreter of an environment with RETURNN, made where it is missing."""
    python = folder / "bin" / "python"
    if not (folder / "installed").is_file():
        print(f"installing {' and '.join(PACKAGES)} from PyPI into {folder}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        packages = next((folder / "lib").glob("python*/site-packages"))
        (packages / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        (folder / "installed").write_text("")
    return python


def sizes_of(experiment: Experiment, vocabulary: int) -> dict[str, Any]:
    """Everything RETURNN's modules need to be built."""
    encoder, decoder, frontend = experiment.encoder, experiment.decoder, experiment.frontend
    if not isinstance(decoder, LstmDecoderConfig):
        raise UserError("this comparison states the LSTM decoder only; give a run that has one")
    position, norm = encoder.attention.position, encoder.convolution.norm
    return {
        "mels": experiment.features.dim, "log_base": experiment.features.log_base,
        "channels": frontend.channels, "strides": frontend.time_strides, "kernel": frontend.kernel,
        "band_pool": frontend.band_pool, "dim": encoder.dim, "ff": encoder.feed_forward.dim, "layers": encoder.layers,
        "activation": encoder.feed_forward.activation, "heads": encoder.attention.heads,
        "clip": position.clip if isinstance(position, ClippedPositionsConfig) else None,
        "depthwise": encoder.convolution.kernel, "batch_norm": isinstance(norm, BatchNormConfig),
        "masked_norm": isinstance(norm, BatchNormConfig) and norm.masked, "vocabulary": vocabulary,
        "ctc_layers": experiment.ctc.layers, "embedding": decoder.embedding_dim, "key": decoder.attention_dim,
        "lstm": decoder.lstm_dim, "readout": decoder.readout_dim, "zone_cell": decoder.zone_cell,
        "zone_hidden": decoder.zone_hidden, "zoned_output": decoder.zoned_output, "dropout": encoder.dropout.rate,
        "attention_dropout": encoder.attention.dropout, "readout_dropout": decoder.readout_dropout.rate,
        "position_dropout": position.dropout if isinstance(position, ClippedPositionsConfig) else 0.0,
    }  # fmt: skip


def in_returnn(python: Path, job: dict[str, Any], run: RunFolder, label: str, audio: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export_run(run, label, folder / "model.pt")
        (folder / "job.json").write_text(json.dumps(job))
        np.savez(folder / "audio.npz", **audio)
        environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        subprocess.run([str(python), str(PEER), str(folder)], check=True, env=environ)
        result: dict[str, Any] = json.loads((folder / "hypotheses.json").read_text())
        return result


def report(name: str, scored: Score, seconds: float, duration: float) -> None:
    low, high = scored.interval.low, scored.interval.high
    print(f"{name:24} WER {scored.wer:6.2f} % [{low:.2f}, {high:.2f}]   {seconds:7.1f} s for {duration:.0f} s of audio")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="run folder")
    parser.add_argument("--data", type=Path, help="prepared folder")
    parser.add_argument("--split", default="dev")
    parser.add_argument("--checkpoint", default="last")
    parser.add_argument("--utterances", type=int, help="only so many, from the front")
    parser.add_argument("--behavior-version", type=int, help="default: what the run's padding asks for, 24 or 16")
    parser.add_argument("--max-samples", type=int, default=1_600_000, help="padded samples per batch, in both systems")
    parser.add_argument("--env", type=Path, default=CACHE)
    options = parser.parse_args()
    if options.run is None or options.data is None:
        print("parity_returnn: needs --run and --data (see --help); nothing measured")
        return

    run = RunFolder.open(options.run)
    experiment, manifest = run.experiment(), Manifest.open(options.data, options.split)
    cuts = [manifest.cut(i) for i in range(min(len(manifest), options.utterances or len(manifest)))]
    audio = {cut.id: samples_of(cut, experiment.audio) for cut in cuts}
    ids = list(audio)
    config = experiment.search.model_copy(update={"kind": "attention", "max_samples": options.max_samples})
    groups = batches([len(samples) for samples in audio.values()], config.max_samples, config.max_utterances)
    version = options.behavior_version or (24 if experiment.frontend.padding == "consistent" else 16)
    if version == 23:
        raise UserError("behavior_version 23 masks its inputs but pads by the batch: aedo has no such model")
    padding = "consistent" if version >= 24 else "batch"
    experiment = experiment.with_("frontend.padding", padding).with_("encoder.convolution.padding", padding)
    model = experiment.build_model(run.vocabulary)
    model.load_state_dict(run.load_model(options.checkpoint).state_dict())
    job = {
        "sizes": sizes_of(experiment, run.vocabulary), "behavior_version": version, "beam": config.beam,
        "exponent": config.length_normalization, "batches": [[ids[i] for i in group] for group in groups],
    }  # fmt: skip

    python = environment(options.env)
    theirs = in_returnn(python, job, run, options.checkpoint, audio)
    tokenizer = run.tokenizer()
    recognizer = Recognizer(model, tokenizer, config)
    begin = time.perf_counter()
    ours = dict(zip(ids, recognizer.recognize(list(audio.values())), strict=True))
    seconds = time.perf_counter() - begin

    their_text = {name: tokenizer.decode(best["labels"]) for name, best in theirs["hypotheses"].items()}
    pairs = [(cut.id, str(cut.supervisions[0].speaker), str(cut.supervisions[0].text)) for cut in cuts]
    our_score = score([Pair(name, speaker, text, ours[name].text) for name, speaker, text in pairs])
    their_score = score([Pair(name, speaker, text, their_text[name]) for name, speaker, text in pairs])
    equal = [name for name in ids if list(ours[name].labels) == theirs["hypotheses"][name]["labels"]]
    differences = [abs(ours[name].score - theirs["hypotheses"][name]["score"]) for name in equal]

    duration = sum(len(samples) for samples in audio.values()) / experiment.audio.sample_rate
    print(f"RETURNN {theirs['version']}, behavior_version {version}; torch {torch.__version__}")
    print(f"{run.path.name}, {run.checkpoint(options.checkpoint).label}, {options.split}, beam {config.beam}")
    report("aedo", our_score, seconds, duration)
    report("RETURNN", their_score, theirs["seconds"], duration)
    print(f"hypotheses equal / total  {len(equal)} / {len(ids)}")
    print(f"largest score difference  {max(differences, default=0.0):.1e} (of log probabilities per label)")
    print(f"time, aedo to RETURNN     {seconds / theirs['seconds']:.3f}")
    print(f"WER difference            {compare(their_score, our_score).difference:+.2f} %")
    for name in ids:
        if name not in equal:
            best = theirs["hypotheses"][name]
            print(f"{name}: aedo {ours[name].score:.6f} {ours[name].text}\n{'':{len(name)}}  RETURNN "
                  f"{best['score']:.6f} {their_text[name]}")  # fmt: skip


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
