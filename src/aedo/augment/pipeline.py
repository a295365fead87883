"""Augmentation of features in training: its parts, one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast

from aedo.features.logmel import Features
from aedo.schedule import Progress


class FeatureAugmentation(Protocol):
    def __call__(self, features: Features, progress: Progress) -> Features: ...


class Remembering(FeatureAugmentation, Protocol):
    """A part whose result depends on earlier micro-steps."""

    def state(self) -> dict[str, Any]: ...

    def load_state(self, state: dict[str, Any]) -> None: ...


class Pipeline:
    """Features through every part in order; without parts, the features themselves."""

    def __init__(self, parts: Mapping[str, FeatureAugmentation]) -> None:
        """`parts` by the name their state is saved under."""
        self.parts = dict(parts)

    def __call__(self, features: Features, progress: Progress) -> Features:
        for part in self.parts.values():
            features = part(features, progress)
        return features

    def state(self) -> dict[str, Any]:
        """What the parts remember, by name: a training that goes on from it does so bit for bit."""
        return {name: part.state() for name, part in self._remembering().items()}

    def load_state(self, state: dict[str, Any]) -> None:
        for name, part in self._remembering().items():
            part.load_state(state[name])

    def _remembering(self) -> dict[str, Remembering]:
        return {name: cast(Remembering, part) for name, part in self.parts.items() if hasattr(part, "load_state")}
