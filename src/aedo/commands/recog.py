"""aedo recog: decode prepared sets with checkpoints of a run, and score them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aedo.commands.options import Beam, CtcGreedy, Data, Device, Precision, RunArgument, Search, search_name
from aedo.commands.searching import HotwordBias, Hotwords, Lm, LmScale, Settings, search_settings

if TYPE_CHECKING:
    from aedo.run import RunFolder
    from aedo.score.decode import Decoding, SetOfCuts


def register(app: typer.Typer) -> None:
    @app.command()
    def recog(
        run: RunArgument,
        sets: Annotated[
            str, typer.Option(help="Splits of the prepared folder, joined by commas. Default: all but training data.")
        ] = "",
        checkpoint: Annotated[
            str,
            typer.Option(
                help="Labels (epoch-0020), or all, best, last, average; joined by commas. Default: the epochs kept by "
                "rule, the best two by every dev measure, and the averages."
            ),
        ] = "",
        data: Data = None,
        search: Search = "",
        beam: Beam = None,
        ctc_greedy: CtcGreedy = False,
        lm: Lm = None,
        lm_scale: LmScale = None,
        hotwords: Hotwords = "",
        hotword_bias: HotwordBias = None,
        setting: Settings = None,
        nbest: Annotated[
            int, typer.Option(min=0, help="Also write this many hypotheses of every utterance, with their scores.")
        ] = 0,
        precision: Precision = "float32",
        device: Device = "auto",
        again: Annotated[bool, typer.Option("--again", help="Decode what is decoded already, too.")] = False,
    ) -> None:
        """Recognise whole sets and print their word error rates.

        Results go to RUN/recog/LABEL; those already there for this very checkpoint, search and set are kept.
        """
        from aedo.errors import UserError
        from aedo.run import RunFolder
        from aedo.score.decode import Decoding
        from aedo.search.choose import choose
        from aedo.search.config import kind_named
        from aedo.search.device import device_of
        from aedo.search.precision import precision_of

        asked = search_name(search, ctc_greedy)
        kind = kind_named(asked) if asked else None
        if kind == "ctc_greedy" and beam is not None:
            raise UserError("--ctc-greedy keeps a single path: give either it or --beam")
        settings = search_settings(lm, lm_scale, hotwords, hotword_bias, setting)
        folder = RunFolder.open(run)
        chosen = choose(folder, checkpoint or None)
        cuts = _sets(folder, sets, data)
        where = device_of(device)
        bits = precision_of(precision, where)
        results = [
            _decode(
                Decoding(folder, c, where, beam=beam, kind=kind, nbest=nbest, precision=bits, settings=settings),
                cuts,
                again=again,
            )
            for c in chosen
        ]
        typer.echo(summary([one.name for one in cuts], results))


def summary(sets: list[str], results: list[tuple[str, dict[str, dict[str, Any]]]]) -> str:
    """One row a checkpoint, WER and interval of every set; the checkpoint with the lowest dev WER named below.

    results: (label, totals by set).
    """
    from aedo.score.tables import percent, table

    def cell(totals: dict[str, Any]) -> str:
        return f"{percent(totals['wer'])} [{percent(totals['wer_low'])}, {percent(totals['wer_high'])}]"

    lines = [table(("WER %", *sets), [(label, *(cell(found[name]) for name in sets)) for label, found in results])]
    dev = [name for name in sets if name.startswith("dev")]
    if dev and len(results) > 1:
        judge = "dev-other" if "dev-other" in dev else dev[0]
        label, found = min(results, key=lambda result: float(result[1][judge]["wer"]))
        lines.append(
            f"Lowest on {judge}: {label}, {percent(found[judge]['wer'])} % (chosen on it, so a little too good)."
        )
    for label, found in results:
        for name, totals in found.items():
            if totals["unreadable"]:
                lines.append(
                    f"{label}, {name}: {totals['unreadable']} utterances have unusable audio and count as not "
                    "recognised; see the lines with a problem in its .jsonl"
                )
    return "\n".join(lines)


def _sets(run: RunFolder, names: str, data: Path | None) -> list[SetOfCuts]:
    from aedo.data.manifest import Manifest
    from aedo.errors import UserError
    from aedo.score.decode import SetOfCuts

    if data is None:
        if not run.info.get("data"):
            raise UserError(f"{run.path / 'run.json'}: names no data folder; give --data DIR")
        data = Path(run.info["data"])
    if not data.is_dir():
        raise UserError(f"{data}: no such folder; give --data DIR, a folder that aedo prepare wrote")
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    if not chosen:
        there = sorted(path.stem for path in data.glob("*.jsonl") if path.stem != "refused")
        chosen = [name for name in there if name != "train" and not name.startswith("train-")]
        if not chosen:
            raise UserError(f"{data}: holds nothing but training data; give --sets train, or another --data")
    return [SetOfCuts.read(Manifest.open(data, name), name, data) for name in dict.fromkeys(chosen)]


def _decode(decoding: Decoding, sets: list[SetOfCuts], *, again: bool) -> tuple[str, dict[str, dict[str, Any]]]:
    from rich.console import Console
    from rich.progress import Progress

    from aedo.score.decode import decode_set

    label = decoding.folder.name
    found = {}
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for cuts in sets:
            task = progress.add_task(f"{label} {cuts.name}", total=len(cuts.cuts))

            def advance(utterances: int, task: Any = task) -> None:
                progress.advance(task, utterances)

            done = decode_set(decoding, cuts, again=again, progress=advance)
            progress.remove_task(task)
            found[cuts.name] = done.totals
            if done.fresh:
                rate = done.totals["real_time_factor"]
                progress.console.print(f"{label} {cuts.name}: {done.totals['wer']:.2f} %, real-time factor {rate:.3f}")
            else:
                progress.console.print(f"{label} {cuts.name}: decoded before, kept")
    return label, found
