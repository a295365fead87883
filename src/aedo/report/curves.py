"""Learning curves: what the log says, drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

from aedo.report.figure import DATASET_COLOURS, FAINT, INK, SERIES, single, style, svg
from aedo.report.gather import DATASETS, Run
from aedo.report.overfitting import ratio_over_time

SIZE = (3.55, 2.25)  # inches; three stand side by side
_BINS = 300

Points = Sequence[tuple[float, float]]

TITLES = {"ce": "cross-entropy per label", "ler": "label error rate, %"}


def title_of(term: str) -> str:
    """ctc_4 -> CTC of layer 4, per label."""
    if term.startswith("ctc_"):
        return f"CTC of layer {term.removeprefix('ctc_')}, per label"
    head, _, layer = term.partition("_")
    if layer and head in TITLES:
        return f"{TITLES[head]} (decoder layer {layer})"
    return TITLES.get(term, term)


def loss_curves(run: Run, key: str) -> list[Markup]:
    """One picture for each loss and the label error rate: train, dev, devtrain over sub-epochs."""
    pictures = []
    for term in run.terms:
        scale = 100.0 if term.startswith("ler") else 1.0
        lines = {data: [(x, scale * y) for x, y in run.series(data, term)] for data in DATASETS}
        lines = {data: points for data, points in lines.items() if points}
        if lines:
            pictures.append(
                chart(
                    [(points, DATASET_COLOURS[data]) for data, points in lines.items()],
                    title_of(term),
                    "sub-epoch",
                    f"{key}-{term}",
                    log=not term.startswith("ler"),
                )
            )
    return pictures


def overfitting(run: Run, key: str) -> Markup | None:
    """dev / devtrain of every loss: 1 means no gap between seen and unseen utterances, more means overfitting."""
    lines = [(term, points) for term in run.terms if (points := ratio_over_time(run, term))]
    if not lines:
        return None
    with style():
        figure, axes = single(*SIZE)
        for number, (term, points) in enumerate(lines):
            line(axes, points, SERIES[number % len(SERIES)], term)
        axes.legend(loc="upper left", fontsize=8, ncols=2, frameon=False, labelcolor=FAINT, handlelength=1.2)
        axes.axhline(1.0, color=INK, linewidth=0.6, linestyle=(0, (4, 3)))
        axes.set_ylim(bottom=0)
        finish(axes, "dev / devtrain", "sub-epoch")
        return svg(figure, f"{key}-overfitting", "overfitting: dev loss divided by devtrain loss over sub-epochs")


def learning_rate(run: Run, key: str) -> Markup | None:
    points, unit = _fine(run, "lr")
    return chart([(_thin(points), SERIES[3])], "learning rate", unit, f"{key}-lr", zero=True) if points else None


def gradient_norm(run: Run, key: str) -> Markup | None:
    """The median over stretches of micro-steps with a band from the 5th to the 95th percentile."""
    points, unit = _fine(run, "grad_norm")
    if not points:
        return None
    x, low, middle, high = _bands(points)
    with style():
        figure, axes = single(*SIZE)
        axes.fill_between(x, low, high, color=SERIES[3], alpha=0.2, linewidth=0)
        line(axes, list(zip(x, middle, strict=True)), SERIES[3])
        if min(low) > 0 and max(high) > 10 * min(low):
            logarithmic(axes)
        finish(axes, "gradient norm", unit)
        return svg(figure, f"{key}-grad", "global norm of the gradient over training")


def chart(
    lines: Sequence[tuple[Points, str]], title: str, unit: str, key: str, *, log: bool = False, zero: bool = False
) -> Markup:
    """Lines over training.  `log`: a logarithmic axis where the values span more than a factor of five."""
    with style():
        figure, axes = single(*SIZE)
        for points, colour in lines:
            line(axes, points, colour)
        values = [y for points, _ in lines for _, y in points if np.isfinite(y)]
        if log and values and min(values) > 0 and max(values) > 5 * min(values):
            logarithmic(axes)
        elif zero or not log:
            axes.set_ylim(bottom=0)
        finish(axes, title, unit)
        return svg(figure, key, f"{title} over training")


def line(axes: Axes, points: Points, colour: str, name: str | None = None, **look: Any) -> None:
    """Points joined; so few that no line is to be seen are marked."""
    marker: dict[str, Any] = {"marker": "o", "markersize": 3.5} if len(points) < 3 else {}
    axes.plot([x for x, _ in points], [y for _, y in points], color=colour, label=name, **marker, **look)


def finish(axes: Axes, title: str, unit: str) -> None:
    """Title, axes and grid as in all our curves."""
    axes.set_title(title)
    axes.set_xlabel(unit, fontsize=8)
    axes.grid(visible=False, axis="x")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if axes.dataLim.width == 0:  # a single sub-epoch
        axes.set_xlim(axes.dataLim.x0 - 1, axes.dataLim.x0 + 1)
    if axes.get_yscale() == "linear":
        axes.yaxis.set_major_locator(MaxNLocator(5))


def logarithmic(axes: Axes) -> None:
    """A logarithmic axis with plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0)))
    plain = ScalarFormatter()
    plain.set_scientific(False)
    axes.yaxis.set_major_formatter(plain)
    axes.yaxis.set_minor_formatter(NullFormatter())


def _fine(run: Run, key: str) -> tuple[list[tuple[float, float]], str]:
    """By micro-step where the steps were logged, else by sub-epoch; with the name of the axis."""
    steps = {
        step["micro_step"]: float(step[key])
        for step in run.steps
        if isinstance(step.get(key), (int, float)) and np.isfinite(step[key])
    }
    if len(steps) > 1:
        return sorted(steps.items()), "micro-step"
    return [(x, y) for x, y in run.scalars(key) if np.isfinite(y)], "sub-epoch"


def _thin(points: Points) -> Points:
    """At most a few hundred points, evenly chosen, the ends among them."""
    if len(points) <= 2 * _BINS:
        return points
    return [points[i] for i in np.linspace(0, len(points) - 1, 2 * _BINS).round().astype(int)]


def _bands(points: Points) -> tuple[list[float], list[float], list[float], list[float]]:
    """(x, 5th percentile, median, 95th percentile) by stretches of equal numbers of points."""
    parts = np.array_split(np.asarray(points, np.float64), max(1, min(_BINS, len(points) // 4) or len(points)))
    columns = [(part[:, 0].mean(), *np.quantile(part[:, 1], [0.05, 0.5, 0.95])) for part in parts if len(part)]
    x, low, middle, high = (list(map(float, column)) for column in zip(*columns, strict=True))
    return x, low, middle, high
