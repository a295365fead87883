"""Options that several verbs share, and what they mean together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from aedo.run import RunFolder
    from aedo.score.decode import SetOfCuts

_RUN = "Run folder that aedo train wrote."

RunArgument = Annotated[Path, typer.Argument(help=_RUN, show_default=False)]
RunOption = Annotated[Path, typer.Option("--run", help=_RUN, show_default=False)]
Data = Annotated[
    Path | None, typer.Option("--data", help="Prepared folder. Default: the one trained on.", show_default=False)
]
Checkpoint = Annotated[
    str,
    typer.Option(
        "--checkpoint",
        help="A label, best or last. Default: the average at the training's end, else the best.",
    ),
]
Beam = Annotated[
    int | None, typer.Option("--beam", min=1, help="Hypotheses kept. Default: the experiment's.", show_default=False)
]
Search = Annotated[
    str,
    typer.Option(
        "--search",
        help="attention, joint (decoder and CTC, label by label), joint-time (the same, frame by frame), ctc-prefix or "
        "ctc (best path). Default: the experiment's, which is joint where it does not say.",
    ),
]
CtcGreedy = Annotated[
    bool, typer.Option("--ctc-greedy", help="Short for --search ctc: best frame path of the last CTC head.")
]
Precision = Annotated[str, typer.Option("--precision", help="float32, bfloat16, or int8 (CPU only).")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda; cuda:1 and the like.")]


def search_name(search: str, ctc_greedy: bool) -> str:
    """The search asked for, empty where none is.  UserError where the two contradict each other."""
    from aedo.errors import UserError

    if ctc_greedy and search not in ("", "ctc"):
        raise UserError(f"--ctc-greedy and --search {search} contradict each other: give one of them")
    return search or ("ctc" if ctc_greedy else "")


def prepared_set(run: RunFolder, data: Path | None, name: str) -> SetOfCuts:
    """A split of `data`, or of the folder the run was trained on.  UserError where it is not there."""
    from aedo.data.manifest import Manifest
    from aedo.errors import UserError
    from aedo.score.decode import SetOfCuts

    place = data or (Path(run.info["data"]) if run.info.get("data") else None)
    if place is None or not place.is_dir():
        raise UserError(f"{place or run.path / 'run.json'}: no prepared folder; give --data DIR")
    return SetOfCuts.read(Manifest.open(place, name), name, place)
