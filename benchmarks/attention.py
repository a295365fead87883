"""Self-attention through torch's fused kernels, against the same written out, in the same run.

    python benchmarks/attention.py [--frames 167 600] [--repeats 5] [--device cuda]

Four utterances, 8 heads of 64, full size.  `always` is measured in training, too, with and without attention dropout;
what a training does by default is the written-out form.  On the CPU every measurement has a process of its own and
counts its processor time on one thread, so that other work on the machine disturbs it little; memory is the growth of
the process behind a first small run.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time
from datetime import date
from typing import NamedTuple, cast

import torch

from aedo.nn.attention import SelfAttention, SelfAttentionConfig
from aedo.nn.masks import length_mask
from aedo.nn.positions import ClippedPositions

BATCH, DIM, HEADS = 4, 512, 8
KINDS = ("clipped", "transformer_xl", "rotary")
MODES = {"recognition": 0.0, "training, no dropout": 0.0, "training, dropout 0.1": 0.1}


class Cost(NamedTuple):
    seconds: float
    megabytes: float
    output: torch.Tensor


def measure(kind: str, frames: int, mode: str, fused: bool, repeats: int, device: str) -> Cost:
    torch.set_num_threads(1)
    attention = build(kind, mode, fused).to(device)
    run(attention, 8)
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    before = memory(device)
    seconds = []
    for _ in range(repeats):
        begin = clock(device)
        output = run(attention, frames)
        seconds.append(clock(device) - begin)
    return Cost(min(seconds), memory(device) - before, output)


def build(kind: str, mode: str, fused: bool) -> SelfAttention:
    torch.manual_seed(0)
    attention = SelfAttentionConfig.model_validate(
        {
            "heads": HEADS,
            "dropout": MODES[mode],
            "position": {"kind": kind},
            "fused": "always" if fused else "never",
        }
    ).build(DIM)
    if isinstance(attention.position, ClippedPositions):
        torch.nn.init.normal_(attention.position.table.weight)
    return attention.train(mode != "recognition")


def run(attention: SelfAttention, frames: int) -> torch.Tensor:
    """Forward, and in training backward."""
    device = attention.qkv.weight.device
    x = torch.randn(BATCH, frames, DIM, generator=torch.Generator().manual_seed(1)).to(device)
    mask = length_mask(torch.tensor([frames, frames - 2, 3 * frames // 4, frames // 2]), frames, device)
    if not attention.training:
        with torch.no_grad():
            return cast(torch.Tensor, attention(x, mask))[mask].cpu()
    attention.zero_grad()
    y = attention(x.requires_grad_(), mask)[mask]
    y.square().sum().backward()
    output: torch.Tensor = y.detach().cpu()
    return output


def clock(device: str) -> float:
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def memory(device: str) -> float:
    """Most ever used, in MB."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[167, 600])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    print(f"{date.today()}, torch {torch.__version__}, {args.device}, B = {BATCH}, {HEADS} heads of {DIM // HEADS}")
    alone = measure if args.device != "cpu" else in_a_process_of_its_own
    for frames in args.frames:
        for kind in KINDS:
            for mode in MODES:
                plain, fused = (alone(kind, frames, mode, way, args.repeats, args.device) for way in (False, True))
                away = "random" if MODES[mode] else f"{(plain.output - fused.output).abs().max():.1e}"
                print(
                    f"T {frames:4} {kind:14} {mode:21} plain {1e3 * plain.seconds:7.1f} ms {plain.megabytes:5.0f} MB   "
                    f"fused {1e3 * fused.seconds:7.1f} ms {fused.megabytes:5.0f} MB   ratio to plain: "
                    f"time {fused.seconds / plain.seconds:.2f}, memory {fused.megabytes / plain.megabytes:.2f}   "
                    f"difference {away}",
                    flush=True,
                )


def in_a_process_of_its_own(kind: str, frames: int, mode: str, fused: bool, repeats: int, device: str) -> Cost:
    with multiprocessing.get_context("fork").Pool(1) as pool:  # forked: the imports are paid once
        return pool.apply(measure, (kind, frames, mode, fused, repeats, device))


if __name__ == "__main__":
    main()
