"""Write the golden files of the recipes: `python -m tests.recipes.regenerate`.

The whole tree of every base goes to tests/golden/data/bases; of every published name, its difference from its base goes
to tests/golden/data/names.  Run it after a change that is meant, and commit the difference it shows.
"""

from __future__ import annotations

import json
from pathlib import Path

from aedo.recipes.bases import BASES
from aedo.recipes.names import Resolved, analyse, resolve
from aedo.recipes.trees import differences
from tests.recipes.published import NAMES

FOLDER = Path(__file__).parents[1] / "golden" / "data" / "bases"
NAMES_FOLDER = FOLDER.parent / "names"


def text_of(base: str) -> str:
    """The tree as it stands in the golden file."""
    return resolve(base).model_dump_json(indent=2) + "\n"


def text_of_name(resolved: Resolved) -> str:
    """All fields in which a name differs from its base, and the tag that set each: a line a field."""
    base, whole = resolve(resolved.base).model_dump(mode="json"), resolved.experiment.model_dump(mode="json")
    lines = [
        json.dumps({"path": path, "base": old, "value": new, "tag": resolved.setter(path)})
        for path, old, new in differences(base, whole)
    ]
    return "[\n" + ",\n".join(f"  {line}" for line in lines) + "\n]\n" if lines else "[]\n"


def write(folder: Path, texts: dict[str, str]) -> None:
    folder.mkdir(exist_ok=True)
    for stale in folder.glob("*.json"):
        if stale.stem not in texts:
            stale.unlink()
    for name, text in texts.items():
        (folder / f"{name}.json").write_text(text, encoding="utf-8")


def main() -> None:
    write(FOLDER, {base: text_of(base) for base in BASES})
    write(NAMES_FOLDER, {name: text_of_name(analyse(name)) for name in NAMES})


if __name__ == "__main__":
    main()
