"""Write the whole tree of every base to tests/golden/data/bases: `python -m tests.recipes.regenerate`.

Run it after a change of a default that is meant, and commit the difference it shows.
"""

from __future__ import annotations

from pathlib import Path

from aedo.recipes.bases import BASES
from aedo.recipes.names import resolve

FOLDER = Path(__file__).parents[1] / "golden" / "data" / "bases"


def text_of(base: str) -> str:
    """The tree as it stands in the golden file."""
    return resolve(base).model_dump_json(indent=2) + "\n"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for stale in FOLDER.glob("*.json"):
        stale.unlink()
    for base in BASES:
        (FOLDER / f"{base}.json").write_text(text_of(base), encoding="utf-8")


if __name__ == "__main__":
    main()
