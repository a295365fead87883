"""Random legal combinations of tags, and what any experiment is when all its sizes are made tiny."""

from __future__ import annotations

import math
import random
import re
from typing import Any

from aedo.errors import UserError
from aedo.experiment import Experiment
from aedo.recipes.bases import BASES
from aedo.recipes.names import Draft, resolve
from aedo.recipes.notation import NotationError, Pattern
from aedo.recipes.parse import find_tag, parse
from aedo.recipes.registry import TAGS, Tag
from tests.recipes.tags import all_spelled

SPELLINGS: dict[str, tuple[str, ...]] = {
    "fraction": ("0", "01", "025", "05", "1"),
    "number": ("0", "1e_5", "1e_3", "01", "05", "1", "2"),
    "count": ("1", "2", "3", "4", "6", "8", "12", "16", "24", "100", "1k", "10k"),
    "numbers": ("01", "01_02", "1_2_3"),
    "layers": ("1", "2", "3", "23", "48", "12"),
    "labels": ("16", "24"),
}
"""Of each type, values that a tiny experiment can take."""

LAYERS = 3
"""Most layers of an encoder."""


def spellings(pattern: Pattern, draw: random.Random) -> str | None:
    """The pattern with values drawn for its places, or None where those lie out of range."""
    text = pattern.spelling
    for place, kind in re.findall(r"(\{\w+:(\w+)\})", text):
        text = text.replace(place, draw.choice(SPELLINGS[kind]))
    found = pattern.match(text)
    try:
        return text if found is not None and pattern.values(found) is not None else None
    except NotationError:
        return None


def companions(tag: Tag) -> list[str]:
    """Tags that this one needs beside it, as the examples of the tests have them."""
    for text, (name, _) in all_spelled().items():
        if find_tag(text) is tag:
            base = max((base for base in BASES if name == base or name.startswith(f"{base}-")), key=len)
            return [text for text in name.removeprefix(base).split("-") if text]
    return []


def combination(seed: int, size: int = 5) -> str:
    """A name of a base and `size` tags or a little more.

    Seed s has tag number s among them (in a fixed shuffled order), so that as many seeds as there are tags try all
    but those that restate what every base has: in their place comes the next.
    """
    draw = random.Random(seed)
    names = sorted(TAGS)
    random.Random(0).shuffle(names)
    begun = next(name for i in range(len(names)) if (name := _begun(TAGS[names[(seed + i) % len(names)]], draw)))
    while len(parse(begun)[1]) < size:
        begun = _longer(begun, spellings(draw.choice(TAGS[draw.choice(names)].patterns), draw))
    return begun


def _begun(wanted: Tag, draw: random.Random) -> str | None:
    """A base and a tag that changes it, with what it needs beside it; None where there is none."""
    for _ in range(300):
        name = draw.choice([*BASES, "tiny", "tiny", "tiny"])
        for text in companions(wanted):
            name = _longer(name, text)
        begun = _longer(name, spellings(draw.choice(wanted.patterns), draw))
        if begun != name:
            return begun
    return None


def _longer(name: str, text: str | None) -> str:
    """The name with one more tag where that is legal, else the name."""
    if text is None:
        return name
    try:
        resolve(f"{name}-{text}")
    except UserError:
        return name
    return f"{name}-{text}"


def micro(experiment: Experiment) -> Experiment:
    """The same experiment with every size made tiny; what is switched on stays on, and kinds stay what they are."""
    e = Draft.of(experiment)
    heads = e.encoder.attention.heads
    sizes: dict[str, Any] = {
        "order.partition": 1,
        "order.bin_size": 5,
        "batch.max_samples": 48_000.0,
        "loader.workers": 0,
        "augment.mixup.buffer_frames": 300,
        "frontend.channels": (2,) * len(e.frontend.channels),
        "frontend.units": 4,
        "encoder.dim": 4 * heads,
        "encoder.feed_forward.dim": 8,
        "decoder.embedding_dim": 4,
        "decoder.attention_dim": 4,
        "decoder.lstm_dim": 8,
        "decoder.readout_dim": 4,
        "decoder.feed_forward.dim": 8,
        "train.eval_utterances": 3,
        "train.devices": 1,
        "train.sync_parameters": None,
        "train.finetune.turn_epochs": 1,
        "train.finetune.hold": 1,
    }
    e = _with_all(e, sizes)
    if e.tokenizer.kind != "char":
        e = e.with_("tokenizer.size", 24)
    if e.decoder is not None and e.decoder.kind == "transformer":
        e = e.with_("decoder.dim", 4 * e.decoder.heads)
    if e.encoder.layers > LAYERS:
        heads_at = sorted({math.ceil(layer * LAYERS / e.encoder.layers) for layer in e.ctc.layers})
        e = e.with_("encoder.layers", LAYERS).with_("ctc.layers", tuple(heads_at))
        if isinstance(e.ctc.scales, tuple):
            e = e.with_("ctc.scales", e.ctc.scales[: len(heads_at)])
    if e.batch.max_seconds is not None:  # one that leaves utterances to train on
        e = e.with_("batch.max_seconds", 60.0)
    masks = e.augment.specaugment
    if masks is not None:
        e = e.with_("augment.specaugment.steps", (0, 0, 0) if masks.constant else (0, 1, 2))
    return _short(e).finish()


def _short(e: Draft) -> Draft:
    """A few updates, in as few sub-epochs as the averages and the way of fine-tuning allow."""
    kept, fine = (e.train.average_last, e.train.average_best), e.train.finetune
    if isinstance(e.train.accumulate, float):
        e = e.with_("train.accumulate", min(e.train.accumulate, 2.0))
    way = 0 if fine is None else fine.hold + fine.turn_epochs + 1
    train = {"epochs": max(1, way, *kept), "keep": {"last": max(2, kept[0]), "best": kept[1]}}
    changed = {**{name: getattr(e.train, name) for name in type(e.train).model_fields}, **train}
    return e.with_("train", type(e.train).model_validate(changed))


def _with_all(e: Draft, sizes: dict[str, Any]) -> Draft:
    """Each size where the experiment has such a field, and it is not smaller already."""
    for path, size in sizes.items():
        value: Any = e
        for name in path.split("."):
            value = getattr(value, name, None)
        if value is None:
            continue
        if isinstance(value, (int, float)):
            e = e.with_(path, value if size is not None and value < size else size)
        elif hasattr(value, "values"):
            e = e.with_(f"{path}.values", tuple(min(size, one) for one in value.values))
        else:
            e = e.with_(path, size)
    return e
