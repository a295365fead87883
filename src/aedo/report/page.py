"""The report: one self-contained HTML page about one run or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from aedo import __version__
from aedo.errors import UserError
from aedo.files import explained, write_text
from aedo.report import curves, tables
from aedo.report.about import About, about, duration
from aedo.report.clips import Budget
from aedo.report.compare import Comparisons, compare_runs
from aedo.report.forest import forests
from aedo.report.gather import Run, SetResult, gather
from aedo.report.overlays import beside_baseline, keys, overlays
from aedo.report.reliability import Reliability, reliability


@dataclass(frozen=True)
class Options:
    worst: int = 5
    """Misrecognised utterances shown for each set."""
    pictures: int = 3
    """Utterances with a picture for each run."""
    audio_megabytes: float = 10.0
    """Most audio in the page, for all runs together."""


@dataclass(frozen=True)
class Curves:
    losses: list[Markup]
    others: list[Markup]


@dataclass(frozen=True)
class Section:
    """What the page shows of a run."""

    key: str
    run: Run
    about: About
    curves: Curves
    wer: tables.WerTable | None
    details: list[tables.Detail]
    errors: tables.Errors
    speakers: list[tables.Speaker]
    worst: list[tuple[str, list[tables.Shown]]]
    """By set."""
    reliability: Reliability | None
    """Of the words' confidence; None where it was not calibrated."""
    pictures: list[Any]
    no_pictures: str
    """Why there are none; empty where there are."""


def write_report(paths: Sequence[Path], out: Path, options: Options) -> list[str]:
    """Write the page about the runs at `paths` to `out`; the first is the baseline.  Returns the notices it shows.

    UserError where a path is no run folder, the same run is given twice, or `out` cannot be written.
    """
    resolved = [path.resolve() for path in paths]
    for path in resolved:
        if resolved.count(path) > 1:
            raise UserError(f"{path}: given twice; name every run once")
    runs = [gather(path) for path in paths]
    html = render(runs, options)
    with explained(out, "write the report"):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text(out, html)
    return [notice for run in runs for notice in run.notices]


def render(runs: list[Run], options: Options) -> str:
    """The page as text."""
    budget = Budget(options.audio_megabytes)
    sections = [_section(run, f"r{number}", options, budget) for number, run in enumerate(runs, start=1)]
    return fill(
        "page.html",
        title=runs[0].name if len(runs) == 1 else f"{len(runs)} runs compared",
        sections=sections,
        **compared(compare_runs(runs) if len(runs) > 1 else None),
    )


def compared(comparison: Comparisons | None) -> dict[str, Any]:
    """What comparison.html needs, pictures drawn."""
    if comparison is None:
        return {"comparison": None}
    drawn = replace(comparison, pictures=forests(comparison), curves=overlays(comparison))
    return {"comparison": drawn, "keys": keys(comparison), "beside": beside_baseline(comparison)}


def fill(template: str, **values: Any) -> str:
    """A page from one of the templates beside this file."""
    environment = Environment(
        loader=PackageLoader("aedo", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"wer": _wer, "number": _number, "p": _p, "several": _several, "duration": duration}
    style, _, _ = environment.loader.get_source(environment, "page.css") if environment.loader else ("", None, None)
    return environment.get_template(template).render(
        reference_name=tables.REFERENCE_NAME,
        style=Markup(style),
        made=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        version=__version__,
        **values,
    )


def _section(run: Run, key: str, options: Options, budget: Budget) -> Section:
    main = [result for result in run.results if result.label == run.main_label]
    pictures, reason = _pictures(run, main, key, options.pictures)
    others = [curves.learning_rate(run, key), curves.gradient_norm(run, key), curves.overfitting(run, key)]
    return Section(
        key,
        run,
        about(run),
        Curves(curves.loss_curves(run, key), [picture for picture in others if picture is not None]),
        tables.wer_table(run),
        tables.details(run),
        tables.frequent_errors(run),
        tables.hardest_speakers(run),
        [(result.name, tables.worst(result, options.worst, budget)) for result in main],
        reliability(run, key),
        pictures,
        reason,
    )


def _pictures(run: Run, main: list[SetResult], key: str, most: int) -> tuple[list[Any], str]:
    """Pictures, or the reason why there are none."""
    if most < 1:
        return [], "left out on request"
    lines = tables.for_pictures(main, most)
    if not main or not lines:
        return [], "no recognised utterances to look at; run aedo recog first"
    from aedo.report.pictures import Inspector

    try:
        inspector = Inspector(run, main[0].checkpoint)
    except UserError as error:
        return [], str(error)
    return [inspector.picture(line, f"{key}-look{number}") for number, line in enumerate(lines)], ""


def _wer(value: float | None) -> str:
    return "–" if value is None else "∞" if value == float("inf") else f"{value:.2f}"


def _number(value: Any) -> str:
    """12345.678 -> 12,346; 0.001234 -> 0.00123."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int) or (abs(value) >= 1000 and value == value and abs(value) != float("inf")):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _several(count: int, noun: str) -> str:
    """(1, "word") -> 1 word; (3, "word") -> 3 words."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
