"""How sure a recognised word is, and how that number is made to mean what it says.

W words, E kinds of evidence.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from aedo.errors import UserError
from aedo.files import explained, write_text

FILE = "calibration.json"
"""Its name in a run folder."""

_LIMIT = 12.0
"""Log odds beyond which evidence counts no more."""
_PRIOR = 1.0
"""Strength with which the fit is held at weights that share out 1: it decides where there are few words."""
_ROUNDS = 200

Array = npt.NDArray[np.float64]


class Evidence(NamedTuple):
    """Log probabilities of a word."""

    ctc: float | None
    """Of its least sure label, in the best of its frames; None without a CTC head."""
    decoder: float | None
    """Of all its labels together; None without a decoder."""


def raw_confidence(evidence: Evidence) -> float:
    """The geometric mean of what there is, before calibration."""
    there = [value for value in evidence if value is not None]
    return math.exp(sum(there) / len(there)) if there else 0.0


@dataclass(frozen=True)
class Calibration:
    """P(word is right) = sigmoid(bias + sum of weight x log odds of the evidence); no weight is negative."""

    bias: float
    weights: tuple[float, ...]
    """One for each kind of evidence: CTC, decoder."""
    made_from: dict[str, Any]
    """Checkpoint, search and set."""

    def __call__(self, evidence: Evidence) -> float:
        odds = self.bias + float(np.dot(self.weights, _log_odds([evidence])[0]))
        return 1.0 / (1.0 + math.exp(-odds))

    @classmethod
    def fit(cls, evidence: Sequence[Evidence], right: Sequence[bool], made_from: dict[str, Any]) -> Calibration:
        """The most probable weights, by Newton's method; weights that would be negative are held at zero.

        A weak normal prior keeps them finite where evidence tells right from wrong without error.
        """
        x = _log_odds(evidence)  # [W, E]
        y = np.asarray(right, np.float64)
        parameters = _logistic(np.column_stack([np.ones(len(x)), x]), y)
        return cls(float(parameters[0]), tuple(map(float, parameters[1:])), made_from)

    def save(self, run: Path, findings: dict[str, Any]) -> Path:
        """Write RUN/calibration.json; `findings` are for the reader."""
        path = run / FILE
        content = {**asdict(self), **findings}
        with explained(run, "write the calibration"):
            write_text(path, json.dumps(content, indent=1) + "\n")
        return path

    @classmethod
    def load(cls, run: Path) -> Calibration | None:
        """What `save` wrote; None where there is none.  UserError where it is damaged."""
        path = run / FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls(float(content["bias"]), tuple(map(float, content["weights"])), dict(content["made_from"]))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: not a calibration ({error!r}); run aedo calibrate again") from None


def cross_validated(evidence: Sequence[Evidence], right: Sequence[bool], groups: Sequence[int], folds: int) -> Array:
    """[W] the calibrated confidence of every word by a fit without its own group's fold (groups: utterances)."""
    fold = np.asarray(groups) % folds
    found = np.empty(len(right))
    for number in range(folds):
        inside = fold == number
        train = [i for i in range(len(right)) if not inside[i]]
        fitted = Calibration.fit([evidence[i] for i in train], [right[i] for i in train], {})
        for i in np.flatnonzero(inside).tolist():
            found[i] = fitted(evidence[i])
    return found


def reliability(confidence: npt.ArrayLike, right: npt.ArrayLike, bins: int = 10) -> dict[str, Any]:
    """How far confidence can be believed.

    curve: for each tenth of the scale, mean confidence, share of right words, words; `ece`: their mean difference,
    weighted by words; `brier`: mean squared error; `nce`: share of the uncertainty about right and wrong that
    confidence takes away (normalised cross entropy, NIST), 0 where it tells no more than the overall share.
    """
    p, y = np.clip(np.asarray(confidence, np.float64), 1e-6, 1 - 1e-6), np.asarray(right, np.float64)
    which = np.minimum((p * bins).astype(int), bins - 1)
    curve = [
        {"confidence": float(p[which == b].mean()), "right": float(y[which == b].mean()), "words": int(n)}
        for b in range(bins)
        if (n := (which == b).sum())
    ]
    share = float(np.clip(y.mean(), 1e-6, 1 - 1e-6))
    base = -(share * math.log(share) + (1 - share) * math.log(1 - share))
    loss = float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean())
    ece = sum(row["words"] * abs(row["confidence"] - row["right"]) for row in curve) / len(y)
    return {"ece": ece, "brier": float(((p - y) ** 2).mean()), "nce": 1 - loss / base, "curve": curve}


def _log_odds(evidence: Sequence[Evidence]) -> Array:
    """[W, E]; evidence that is not there counts nothing."""

    def odds(log_prob: float | None) -> float:
        if log_prob is None:
            return 0.0
        rest = -math.expm1(min(log_prob, -1e-12))
        return max(-_LIMIT, min(_LIMIT, log_prob - math.log(rest)))

    return np.array([[odds(value) for value in one] for one in evidence]).reshape(len(evidence), len(Evidence._fields))


def _logistic(x: Array, y: Array) -> Array:
    """Parameters [1 + E] of a logistic regression; all but the first are at least zero."""
    features = x.shape[1] - 1
    prior = np.array([0.0, *[1.0 / features] * features])
    penalty = _PRIOR * np.array([0.01, *[1.0] * features])
    parameters = prior.copy()
    for _ in range(_ROUNDS):
        p = 1 / (1 + np.exp(-x @ parameters))
        gradient = x.T @ (p - y) + penalty * (parameters - prior)
        held = (parameters <= 0) & (gradient > 0)  # at the bound, and pushed against it
        held[0] = False
        free = ~held
        hessian = (x[:, free].T * (p * (1 - p))) @ x[:, free] + np.diag(penalty[free])
        step = np.linalg.solve(hessian, gradient[free])
        step *= min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        parameters[free] -= step
        parameters[1:] = np.maximum(parameters[1:], 0.0)
        if np.abs(step).max() < 1e-9:
            break
    return parameters
