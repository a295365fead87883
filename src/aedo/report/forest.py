"""Error rates of experiments and their differences to the baseline, drawn with their intervals, one line each."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aedo.report.compare import Comparisons, Row
from aedo.report.figure import FAINT, INK, SERIES, recolour, style, svg

ROW_HEIGHT = 0.27
"""Inches."""
_COLOURS = {"better": SERIES[3], "worse": SERIES[1]}


def forests(comparison: Comparisons) -> list[Markup]:
    """One picture a column, as SVG."""
    with style():
        return [
            svg(forest(comparison, column), f"forest-{number}", f"word error rates on {column} with intervals")
            for number, column in enumerate(comparison.columns)
        ]


def forest(comparison: Comparisons, column: str) -> Figure:
    """Left the mean WER with its interval and a dot a seed, right the difference to the baseline with its interval."""
    with style():
        return _forest(comparison, column)


def _forest(comparison: Comparisons, column: str) -> Figure:
    rows = [row for row in comparison.rows if column in row.outcomes]
    rows = [*rows[:1], *sorted(rows[1:], key=lambda row: row.outcomes[column].mean)]
    figure = Figure(figsize=(9.6, 0.95 + ROW_HEIGHT * len(rows)), layout="constrained")
    rates, gaps = figure.subplots(1, 2, sharey=True)
    for y, row in enumerate(rows):
        _draw(rates, gaps, y, row, column)
    rates.set_yticks(range(len(rows)), [_title(row, comparison.rows[0]) for row in rows])
    rates.tick_params(axis="y", labelcolor=INK, labelsize=8.5, length=0)
    rates.set_ylim(len(rows) - 0.4, -0.6)
    rates.set_title(f"{column}: WER in percent")
    gaps.set_title("difference to the baseline")
    gaps.axvline(0, color=INK, linewidth=0.8)
    gaps.tick_params(axis="y", length=0)
    for axes in (rates, gaps):
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
    return figure


def write_png(figure: Figure, path: Path) -> None:
    """The figure as a picture on white, in the colours of a light page."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with style():
        recolour(figure)
        FigureCanvasAgg(figure)
        figure.savefig(path, dpi=150, facecolor="white")


def _draw(rates: Axes, gaps: Axes, y: int, row: Row, column: str) -> None:
    outcome = row.outcomes[column]
    colour = _COLOURS.get(outcome.verdict, SERIES[0] if y else INK)
    if outcome.interval is not None:
        rates.plot([outcome.interval.low, outcome.interval.high], [y, y], color=colour, linewidth=1.6)
    rates.plot([outcome.mean], [y], "|", color=colour, markersize=10, markeredgewidth=2)
    if len(outcome.rates) > 1:
        rates.plot(outcome.rates, [y] * len(outcome.rates), "o", color=FAINT, markersize=3, linestyle="none")
    if outcome.comparison is not None:
        low, high, _ = outcome.comparison.interval
        gaps.plot([low, high], [y, y], color=colour, linewidth=1.6)
        gaps.plot([outcome.comparison.difference], [y], "|", color=colour, markersize=10, markeredgewidth=2)


def _title(row: Row, baseline: Row) -> str:
    """The tags where those say all."""
    if row is baseline or not row.tags or not row.name.startswith(baseline.name):
        return row.name
    return row.tags
