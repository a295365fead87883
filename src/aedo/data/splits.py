"""Held-out development utterances for corpora that come without a development part."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from aedo.data.corpora.listing import UNKNOWN_SPEAKER, Item
from aedo.errors import UserError

DEV = "dev"


def is_train(split: str) -> bool:
    return split == "train" or split.startswith("train-")


def hold_out_speakers(items: Sequence[Item], speakers: str) -> list[Item]:
    """Move speakers of the training splits into `dev`.

    `speakers`: a number N (the last N in sorted order), or names separated by commas; one name that is a number is
    written with a comma behind it ("19,").  Raises UserError when there are too few speakers or a name is unknown.
    """
    _check_no_dev(items, "--dev-speakers")
    known = sorted({item.speaker for item in items if is_train(item.split)} - {UNKNOWN_SPEAKER})
    if speakers.strip().isdigit():
        number = int(speakers)
        if not 0 < number < len(known):
            raise UserError(
                f"--dev-speakers {number}: training data has {len(known)} known speakers; hold out 1 to "
                f"{max(len(known) - 1, 0)}, or use --dev-fraction"
            )
        chosen = set(known[-number:])
    else:
        chosen = {name.strip() for name in speakers.split(",") if name.strip()}
        missing = sorted(chosen - set(known))
        if missing:
            raise UserError(f"--dev-speakers: no training speaker {missing[0]!r}; there are {_some(known)}")
        if len(chosen) == len(known):
            raise UserError("--dev-speakers names every training speaker: nothing would be left to train on")
    return [item._replace(split=DEV) if is_train(item.split) and item.speaker in chosen else item for item in items]


def hold_out_fraction(items: Sequence[Item], fraction: float) -> list[Item]:
    """Move a share of the training utterances into `dev`, chosen by a hash of their ids: the same ones every time.

    The same speakers are then in both.  Raises UserError when either side would be empty.
    """
    _check_no_dev(items, "--dev-fraction")
    train = [item.id for item in items if is_train(item.split)]
    number = round(fraction * len(train))
    if not 0 < number < len(train):
        raise UserError(f"--dev-fraction {fraction}: {number} of {len(train)} training utterances; choose another")
    chosen = set(sorted(set(train), key=lambda id: hashlib.sha256(id.encode()).digest())[:number])
    return [item._replace(split=DEV) if is_train(item.split) and item.id in chosen else item for item in items]


def _check_no_dev(items: Sequence[Item], option: str) -> None:
    own = sorted({item.split for item in items if item.split == DEV or item.split.startswith(DEV + "-")})
    if own:
        raise UserError(f"{option}: the corpus has its own development split {own[0]!r}; leave the option out")


def _some(names: Sequence[str], limit: int = 20) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
