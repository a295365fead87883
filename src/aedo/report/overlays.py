"""Training curves of several experiments in one picture, and each beside the baseline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from aedo.report.compare import Comparisons, Row
from aedo.report.curves import Points, finish, line, logarithmic, title_of
from aedo.report.figure import FAINT, INK, SERIES, single, style, svg
from aedo.report.gather import Run
from aedo.report.overfitting import ratio_over_time

SIZE = (4.9, 3.0)  # inches; two stand side by side
SMALL = (2.3, 1.6)
FEW = 3
"""With so many experiments or fewer, the overlay shows all there is to see."""
MANY = 6
"""With more, the overlay shows the mean over the seeds instead of every training."""
_DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))

Series = Callable[[Run], Points]


@dataclass(frozen=True)
class Key:
    """How an experiment is drawn in the overlays."""

    name: str
    variable: str
    """Colour, a variable of the page."""
    dash: str
    """A stroke-dasharray."""


def look(number: int) -> tuple[str, Any]:
    """Colour and dashes of the experiment of that row: they repeat after twenty-four."""
    return SERIES[number % len(SERIES)], _DASHES[number // len(SERIES) % len(_DASHES)]


def keys(comparison: Comparisons) -> list[Key]:
    found = []
    for number, row in enumerate(comparison.rows):
        dash = look(number)[1]
        spaced = "" if dash == "-" else " ".join(f"{2 * length:g}" for length in dash[1])
        found.append(Key(row.name, f"c{number % len(SERIES) + 1}", spaced))
    return found


def overlays(comparison: Comparisons) -> list[Markup]:
    """Every loss and the label error rate on dev, and the overfitting ratio: a line a training or experiment."""
    pictures = []
    for term in comparison.terms:
        pictures.append(_overlay(comparison.rows, _dev(term), f"dev: {title_of(term)}", f"all-{term}"))
    ratio = comparison.ratio_term
    if ratio is not None:
        title = f"overfitting: dev / devtrain {title_of(ratio).removesuffix(', %')}"
        pictures.append(_overlay(comparison.rows, lambda run: ratio_over_time(run, ratio), title, "all-ratio"))
    return [picture for picture in pictures if picture is not None]


def beside_baseline(comparison: Comparisons) -> list[Markup]:
    """A small picture for each experiment but the first, with the baseline in grey; none where there are few."""
    term = comparison.ratio_term
    if term is None or len(comparison.rows) <= FEW:
        return []
    series, pictures = _dev(term), []
    baseline = [series(run) for run in comparison.rows[0].runs]
    highest = max((y for row in comparison.rows for run in row.runs for _, y in series(run)), default=1.0)
    with style():
        for number, row in enumerate(comparison.rows[1:], start=1):
            figure, axes = single(*SMALL)
            for points in baseline:
                line(axes, points, FAINT, linewidth=0.9)
            for run in row.runs:
                line(axes, series(run), SERIES[1], linewidth=1.3)
            finish(axes, row.tags or row.name, "")
            axes.set_title(row.tags or row.name, fontsize=8.5)
            axes.set_ylim(0, min(highest, 100.0) if term.startswith("ler") else highest)
            pictures.append(svg(figure, f"beside-{number}", f"{row.name} beside the baseline: dev {term}"))
    return pictures


def mean_points(trainings: list[Points]) -> Points:
    """The mean over the trainings at every x that all of them have."""
    tables = [dict(points) for points in trainings]
    shared = sorted(set(tables[0]).intersection(*tables[1:]))
    return [(x, sum(table[x] for table in tables) / len(tables)) for x in shared]


def _dev(term: str) -> Series:
    scale = 100.0 if term.startswith("ler") else 1.0
    return lambda run: [(x, scale * y) for x, y in run.series("dev", term)]


def _overlay(rows: list[Row], series: Series, title: str, key: str) -> Markup | None:
    of_row = [[points for run in row.runs if (points := series(run))] for row in rows]
    if len(rows) > MANY:
        of_row = [[mean_points(trainings)] if trainings else [] for trainings in of_row]
    lines = [(number, points) for number, trainings in enumerate(of_row) for points in trainings]
    if not any(points for _, points in lines):
        return None
    values = [y for _, points in lines for _, y in points]
    with style():
        figure, axes = single(*SIZE)
        for number, points in lines:
            colour, dash = look(number)
            line(axes, points, colour, linestyle=dash, linewidth=1.2)
        if key == "all-ratio":
            axes.axhline(1.0, color=INK, linewidth=0.6, linestyle=(0, (4, 3)))
        elif min(values) > 0 and max(values) > 5 * min(values):
            logarithmic(axes)
        finish(axes, title, "sub-epoch")
        return svg(figure, key, f"{title} over training")
