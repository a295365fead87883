"""The golden folders: small models whose every output the original system computed."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from aedo.experiment import Experiment
from aedo.model.aed import AED
from aedo.verify.check import Check
from aedo.verify.folder import GoldenFolder
from aedo.verify.load import load
from aedo.verify.verification import Verification

FOLDER = Path(__file__).parent / "data" / "models"
NAMES = ("base", "base-bv24", "zoneout-out", "layernorm", "relpos-xl", "enc-default", "ctc-only", "trafo-dec", "large")


def loaded(name: str) -> tuple[Experiment, AED]:
    """A folder's experiment, and a fresh copy of its model in evaluation mode."""
    experiment, model = load(GoldenFolder.open(FOLDER / name))
    return experiment, model.eval()


@cache
def verified(name: str) -> tuple[Verification, tuple[Check, ...]]:
    """What `aedo verify` says of a folder."""
    verification = Verification.of(FOLDER / name)
    return verification, tuple(verification.checks())
