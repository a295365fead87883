"""How far the confidence of words can be believed: what `aedo calibrate` found, as a picture and in numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from aedo.report.figure import FAINT, RULE, SERIES, style, svg
from aedo.report.gather import Run
from aedo.search.confidence import FILE

_BEFORE, _AFTER = SERIES[0], SERIES[1]
_MEASURES = (("calibration error", "ece"), ("Brier score", "brier"), ("normalised cross entropy", "nce"))


@dataclass(frozen=True)
class Reliability:
    """What the page shows of a calibration."""

    picture: Markup
    measures: list[tuple[str, float, float]]
    """Name, before, after."""
    words: int
    wrong: int
    of: str
    """Set and checkpoint."""
    left_out: str
    """What was left out of the fit in turn to measure `after`: speakers or utterances."""


def reliability(run: Run, key: str) -> Reliability | None:
    """None where nothing was calibrated; a file that cannot be read is a notice of the run."""
    path = run.folder.path / FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        before, after, origin = found["before"], found["after"], found["made_from"]
        return Reliability(
            _drawn(before["curve"], after["curve"], key),
            [(name, float(before[measure]), float(after[measure])) for name, measure in _MEASURES],
            int(found["words"]),
            int(found["wrong"]),
            f"{origin['set']}, {origin['checkpoint']}",
            str(found.get("left_out", "utterances")),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        run.notices.append(f"{path}: not a calibration ({error!r}); run aedo calibrate again")
        return None


def _drawn(before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]], key: str) -> Markup:
    """Share of right words over confidence, and below how many words each tenth of the scale holds."""
    with style():
        figure = Figure(figsize=(5.4, 4.8), layout="constrained")
        curve, counts = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        curve.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, linestyle=(0, (4, 3)))
        for rows, colour, side in ((before, _BEFORE, -1), (after, _AFTER, 1)):
            x, y, words = (np.array([float(row[name]) for row in rows]) for name in ("confidence", "right", "words"))
            spread = np.sqrt(np.maximum(y * (1 - y), 0.25 / words) / words)  # one standard error of a share
            curve.errorbar(x, y, spread, color=colour, elinewidth=0.8, marker="o", markersize=3.5)
            counts.bar((np.minimum(np.floor(x * 10), 9) + 0.5) / 10 + side * 0.021, words, 0.04, color=colour)
            for place, number in zip(x, words, strict=True):
                tenth = (min(int(place * 10), 9) + 0.5) / 10 + side * 0.021
                counts.text(tenth, number, f"{number:.0f}", color=FAINT, ha="center", va="bottom", fontsize=6)
        curve.set(xlim=(0, 1), ylim=(0, 1.02), title="Share of right words")
        counts.set_yscale("log")
        counts.set(title="Words", xlabel="confidence", ylim=(0.7, 4 * max(row["words"] for row in [*before, *after])))
        counts.set_yticks([], minor=False)
        counts.set_yticks([], minor=True)  # the bars tell their numbers
        counts.set_xticks(np.linspace(0, 1, 11))
        curve.yaxis.set_major_locator(MaxNLocator(5))
        for axes in (curve, counts):
            axes.tick_params(color=RULE)
        return svg(
            figure, f"{key}-reliability", "share of right words over their confidence, before and after calibration"
        )
