"""Augmentation of features in training: its parts, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aedo.features.logmel import Features
from aedo.schedule import Progress

FeatureAugmentation = Callable[[Features, Progress], Features]


class Pipeline:
    """Features through every part in order; without parts, the features themselves."""

    def __init__(self, parts: Sequence[FeatureAugmentation]) -> None:
        self.parts = tuple(parts)

    def __call__(self, features: Features, progress: Progress) -> Features:
        for part in self.parts:
            features = part(features, progress)
        return features
