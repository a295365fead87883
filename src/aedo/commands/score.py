"""aedo score: word error rate of recognised text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command()
    def score(
        results: Annotated[
            Path | None,
            typer.Argument(help="JSONL with id, ref and hyp a line, as aedo recog writes it.", show_default=False),
        ] = None,
        ref: Annotated[
            Path | None, typer.Option(help="References: JSONL, .trn, or ID and words a line.", show_default=False)
        ] = None,
        hyp: Annotated[
            Path | None, typer.Option(help="Recognised text, in the same formats.", show_default=False)
        ] = None,
        against: Annotated[
            Path | None,
            typer.Option(help="Another result on the same utterances: adds a paired significance.", show_default=False),
        ] = None,
        normalize: Annotated[
            str, typer.Option(help="Text normalisation of both sides, as for aedo prepare: unicode,nopunct,upper ...")
        ] = "none",
        sclite: Annotated[
            bool, typer.Option("--sclite", help="Align with NIST sclite's costs (4 for a substitution, else 3).")
        ] = False,
        worst: Annotated[int, typer.Option(min=0, help="Utterances whose aligned errors are shown.")] = 10,
        confusions: Annotated[int, typer.Option(min=0, help="Most frequent errors shown.")] = 20,
        json: Annotated[bool, typer.Option("--json", help="Print the totals as JSON instead.")] = False,
    ) -> None:
        """Word error rate with its interval, by speaker, with aligned errors."""
        import json as jsonlib

        from aedo.errors import UserError
        from aedo.score import tables
        from aedo.score.texts import pairs_of, read_pairs
        from aedo.score.wer import compare
        from aedo.score.wer import score as score_pairs

        if (results is None) == (ref is None and hyp is None):
            raise UserError("give either a result file (aedo score HYP.jsonl) or both --ref REF and --hyp HYP")
        if results is None and (ref is None or hyp is None):
            raise UserError("--ref and --hyp go together")
        pairs = read_pairs(results, normalize) if results is not None else pairs_of(ref, hyp, normalize)  # type: ignore[arg-type]
        scored = score_pairs(pairs, sclite=sclite)
        other = None
        if against is not None:
            matching = read_pairs(against, normalize) if results is not None else pairs_of(ref, against, normalize)  # type: ignore[arg-type]
            other = compare(score_pairs(matching, sclite=sclite), scored)
        if json:
            comparison = {} if other is None else {"difference": other.difference, "p_value": other.p_value}
            typer.echo(jsonlib.dumps({**scored.as_json(), **comparison}))
            return
        typer.echo("\n\n".join(tables.page(scored, other, worst=worst, confusions=confusions)))
