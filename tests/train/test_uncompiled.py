from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from aedo.train.nadam_tf import NAdamTf
from aedo.train.scaled_adam import ScaledAdam
from aedo.train.uncompiled import uncompiled

KINDS = [torch.optim.AdamW, torch.optim.Adam, torch.optim.NAdam, NAdamTf, ScaledAdam]

UPDATES = """
import sys, torch
from aedo.train.optimizers import OptimizerConfig
for kind in ("adamw", "adam", "nadam", "nadam_tf", "scaled_adam"):
    layer = torch.nn.Linear(3, 2)
    config = {"kind": kind, **({"weight_decay": {"value": 0.0}} if kind == "scaled_adam" else {})}
    optimizer = OptimizerConfig.model_validate(config).build(layer)
    layer(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    optimizer.load_state_dict(optimizer.state_dict())
print("torch._dynamo" in sys.modules)
"""


@pytest.mark.parametrize("kind", KINDS)
def test_updates_and_state_are_those_of_the_optimizer_itself(kind: type[torch.optim.Optimizer]) -> None:
    torch.manual_seed(0)
    plain = nn.Linear(5, 4)
    ours = copy.deepcopy(plain)
    optimizers = [made(layer.parameters(), lr=0.1) for made, layer in ((kind, plain), (uncompiled(kind), ours))]
    for _ in range(3):
        x = torch.randn(6, 5)
        for layer, optimizer in zip((plain, ours), optimizers):
            layer(x).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    assert torch.equal(plain.weight, ours.weight)
    assert isinstance(optimizers[1], kind)
    saved = optimizers[0].state_dict()
    assert str(optimizers[1].state_dict()) == str(saved)
    optimizers[1].load_state_dict(saved)


def test_no_optimizer_loads_the_compiler() -> None:
    ended = subprocess.run([sys.executable, "-c", UPDATES], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "False"
