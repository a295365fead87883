"""Drawing for a page that may be light, dark or paper: SVG whose colours are the page's own CSS variables."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import LinearSegmentedColormap, is_color_like, to_hex
from matplotlib.figure import Figure

# matplotlib wants real colours: these stand in for the page's variables and are replaced in the text of the SVG.
INK, FAINT, RULE = "#010101", "#020202", "#030303"
SERIES = ("#040404", "#050505", "#060606", "#070707", "#080808", "#090909")
_VARIABLES = {INK: "ink", FAINT: "faint", RULE: "rule", **{c: f"c{n}" for n, c in enumerate(SERIES, start=1)}}
_LIGHT = dict(
    zip(
        (INK, FAINT, RULE, *SERIES),
        ("#23272e", "#666d78", "#dcdcd5", "#8b929d", "#c4502f", "#1f77a8", "#4a7d4e", "#8a5fb0", "#a07a12"),
    )
)
DATASET_COLOURS = {"train": SERIES[0], "dev": SERIES[1], "devtrain": SERIES[2]}

HEAT = LinearSegmentedColormap.from_list("heat", [(0.82, 0.35, 0.20, 0.0), (0.82, 0.35, 0.20, 1.0)])
"""Transparent to vermilion: readable on any ground."""

_STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 9,
    "text.color": INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": RULE,
    "axes.labelcolor": FAINT,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": FAINT,
    "ytick.labelcolor": FAINT,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
}


@contextmanager
def style() -> Iterator[None]:
    """Our look, for figures made and written inside."""
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # the reader's fonts draw the text
        yield


def single(width: float, height: float) -> tuple[Figure, Axes]:
    """One figure in inches with one pair of axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def recolour(figure: Figure) -> None:
    """Give a figure real colours, those of a light page: for a picture that stands alone."""
    for artist in figure.findobj():
        for name in ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor"):
            get, put = getattr(artist, f"get_{name}", None), getattr(artist, f"set_{name}", None)
            if get is None or put is None:
                continue
            colour = get()
            known = _LIGHT.get(to_hex(colour)) if is_color_like(colour) else None
            if known is not None:
                put(known)


def svg(figure: Figure, name: str, description: str) -> Markup:
    """The figure as an <svg> element; `name` is unique on the page, `description` is its title."""
    buffer, name = io.StringIO(), re.sub(r"[^\w-]", "-", name)
    canvas: Any = FigureCanvasSVG(figure)  # without types
    canvas.print_svg(buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)  # would apply to the whole page
    text = re.sub(r'<(g|image)([^>]*?) id="[^"]*"', r"<\1\2", text)  # their names repeat and nothing refers to them
    for number, old in enumerate(re.findall(r' id="([^"]*)"', text)):
        text = text.replace(f'"{old}"', f'"{name}-{number}"').replace(f"#{old}", f"#{name}-{number}")
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    text = re.sub(r" font-family: [^;\"]*;", "", text)  # the page's font
    title = Markup("<title>{}</title>").format(description)
    head, body = text.split(">", 1)
    head = re.sub(r' (?:width|height)="[\d.]+pt"', "", head)
    width = figure.get_size_inches()[0] * 96
    return Markup(f'{head} role="img" style="width:{width:.0f}px">{title}{body}')
