"""A run folder written by hand: small, complete, deterministic."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from safetensors.torch import save_file

from aedo.data.text import train_tokenizer
from aedo.experiment import Experiment
from aedo.score.wer import Pair, score

SENTENCES = [
    ("THE QUICK BROWN FOX JUMPS", "THE QUICK BROWN FOX JUMPS"),
    ("OVER THE LAZY DOG", "OVER A LAZY DOG"),
    ("SEVEN & EIGHT", "SEVEN & ATE"),
    ("NINE TEN ELEVEN", "NINE ELEVEN"),
    ("GO <B>", "GO <B> GO ON"),
    ("YES", ""),
]

SMALL = {
    "tokenizer": {"kind": "char"},
    "encoder": {"layers": 2, "dim": 16, "feed_forward": {"dim": 32}, "attention": {"heads": 2}},
    "ctc": {"layers": [2]},
    "decoder": {"embedding_dim": 8, "attention_dim": 8, "lstm_dim": 16, "readout_dim": 16},
    "train": {"epochs": 12},
}


def make_run(folder: Path, name: str = "tiny", tree: dict[str, Any] | None = None, worse: int = 0) -> Path:
    """A finished run with audio, weights, two decoded checkpoints; `worse` utterances get one more error."""
    experiment = Experiment.model_validate(SMALL | (tree or {}))
    folder.mkdir(parents=True)
    dump(folder / "experiment.json", {"name": name, "experiment": experiment.model_dump(mode="json")})
    tokenizer = train_tokenizer(experiment.tokenizer, [ref for ref, _ in SENTENCES], folder / "tokenizer")
    data = folder.parent / "data"
    data.mkdir(exist_ok=True)
    dump(data / "card.json", card())
    info = {
        "vocabulary": tokenizer.size,
        "data": str(data),
        "time": "2030-01-02T03:04:05+00:00",
        "command": ["/somewhere/bin/aedo", "train", name, "--data", str(data)],
        "git": {"commit": "0123abc", "changed": False},
        "machine": {"processor": "A Processor", "cores": 2, "device": "cpu"},
        "versions": {"python": "3.11", "torch": "2.13"},
        "starts": [{"time": "2030-01-02T03:04:05+00:00"}, {"time": "2030-01-02T04:04:05+00:00"}],
    }
    dump(folder / "run.json", info)
    write_lines(folder / "log.jsonl", [epoch(number) for number in range(1, 13)])
    write_lines(folder / "steps.jsonl", [step(number) for number in range(240)])
    torch.manual_seed(1)
    model = experiment.build_model(tokenizer.size)
    for label, errors in (("epoch-0012", 1), ("average-last10pct", 0)):
        checkpoint = folder / "checkpoints" / label
        checkpoint.mkdir(parents=True)
        save_file(model.state_dict(), checkpoint / "model.safetensors")
        dump(checkpoint / "checkpoint.json", {"label": label, "epoch": 12, "micro_step": 240, "update": 240})
        for part in ("dev-clean", "test"):
            recognise(folder / "recog" / label, part, data, errors + worse)
    return folder


def recognise(folder: Path, name: str, data: Path, errors: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, (ref, hyp) in enumerate(SENTENCES * 4):
        audio = data / f"{name}-{number}.wav"
        if not audio.exists():
            soundfile.write(audio, sweep(number), 16000)
        shown = f"{hyp} UH" if number < 6 * errors else hyp
        line = {"id": f"{name}-{number}", "speaker": f"s{number % 3}", "ref": ref, "hyp": shown, "score": -1.0}
        lines.append({**line, "duration": 1.5, "audio": str(audio)})
    write_lines(folder / f"{name}.jsonl", lines)
    totals = score(Pair(x["id"], x["speaker"], x["ref"], x["hyp"]) for x in lines).as_json()
    extra = {"set": name, "checkpoint": folder.name, "search": {"beam": 12}, "seconds": 2.0, "audio_seconds": 36.0}
    dump(folder / f"{name}.json", {**extra, **totals})


def sweep(number: int) -> np.ndarray:
    t = np.arange(24000) / 16000
    return (0.2 * np.sin(2 * np.pi * (200 + 150 * number % 1700 + 400 * t) * t)).astype(np.float32)


def epoch(number: int) -> dict[str, Any]:
    def values(factor: float) -> dict[str, float]:
        ce = 0.1 + 4 * math.exp(-number / 3)
        return {"ce": factor * ce, "ler": min(1.0, factor * ce / 5), "ctc_2": factor * (ce + 0.2)}

    return {
        "epoch": number,
        "micro_step": 20 * number,
        "update": 20 * number,
        "lr": 1e-3 * min(1, number / 4),
        "seconds": 60.0,
        "audio_seconds": 1800.0,
        "padding": 0.06,
        "wait": 0.4,
        "grad_norm": 1.5,
        "clipped": 0.1,
        "skipped_steps": 0,
        "bad_utterances": 1,
        "train": values(1.1),
        "dev": values(1.0 + 0.02 * number),
        "devtrain": values(0.8),
    }


def step(number: int) -> dict[str, Any]:
    lr = 1e-3 * min(1, number / 80)
    grad = 1 + 4 * math.exp(-number / 40) + 0.3 * math.sin(number)
    return {
        "micro_step": number,
        "update": number,
        "epoch": number // 20 + 1,
        "lr": lr,
        "grad_norm": grad,
        "total": 2.0,
    }


def card() -> dict[str, Any]:
    split = {"utterances": 24, "hours": 0.01, "speakers": 3, "words": 80, "distinct_words": 17, "unseen_words": None}
    split |= {"median": 1.5, "longest": 1.5}
    return {
        "format": 1,
        "source": "folder /recordings",
        "sample_rate": 16000,
        "normalize": "none",
        "notes": [],
        "splits": {"train": split, "dev": {**split, "unseen_words": 2}},
        "characters": {" ": 9, "A": 4, "E": 12},
        "refused": [{"reason": "audio is silent", "count": 2, "examples": ["x: audio is silent"]}],
    }


def dump(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
