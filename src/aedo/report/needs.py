"""The libraries only the report needs."""

from __future__ import annotations

from importlib.util import find_spec

from aedo.errors import UserError


def check_extras() -> None:
    """UserError where matplotlib or jinja2 is not installed."""
    missing = [name for name in ("jinja2", "matplotlib") if find_spec(name) is None]
    if missing:
        raise UserError(f"aedo report needs {' and '.join(missing)}; run pip install 'aedo[report]'")
