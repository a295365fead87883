"""aedo transcribe: any audio file to text."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from aedo.search.transcribe import Transcript


def register(app: typer.Typer) -> None:
    @app.command()
    def transcribe(
        files: Annotated[
            list[Path],
            typer.Argument(help="Audio: wav, flac, ogg, opus, mp3; any rate and channels.", show_default=False),
        ],
        run: Annotated[Path, typer.Option(help="Run folder that aedo train wrote.", show_default=False)],
        json: Annotated[
            bool, typer.Option("--json", help="One JSON object a file: text, score, and times of long files' pieces.")
        ] = False,
        checkpoint: Annotated[
            str, typer.Option(help="A label, best or last. Default: the average at the training's end, else the best.")
        ] = "",
        beam: Annotated[
            int | None, typer.Option(min=1, help="Hypotheses kept. Default: the experiment's.", show_default=False)
        ] = None,
        ctc_greedy: Annotated[
            bool, typer.Option("--ctc-greedy", help="Best frame path of the last CTC head instead of beam search.")
        ] = False,
        max_seconds: Annotated[
            float, typer.Option(min=1.0, help="Longer files are cut at quiet moments into pieces of at most this.")
        ] = 30.0,
        device: Annotated[str, typer.Option(help="auto, cpu or cuda; cuda:1 and the like.")] = "auto",
    ) -> None:
        """Print the words spoken in audio files.

        With several files every line starts with the file's name. A file that cannot be used is reported on standard
        error, the others are still transcribed, and the exit status is 2.
        """
        from aedo.data.audio import AudioProblem
        from aedo.errors import UserError
        from aedo.run import RunFolder
        from aedo.search.choose import preferred, recognizer_of
        from aedo.search.device import device_of
        from aedo.search.transcribe import transcribe_file

        if ctc_greedy and beam is not None:
            raise UserError("--ctc-greedy keeps a single path: give either it or --beam")
        folder = RunFolder.open(run)
        taken = folder.checkpoint(checkpoint) if checkpoint else preferred(folder)
        recognizer = recognizer_of(folder, taken, device_of(device), beam=beam, use_ctc=ctc_greedy)
        audio = folder.experiment().audio
        failed = False
        for path in files:
            try:
                transcript = transcribe_file(recognizer, path, audio, longest=max_seconds)
            except AudioProblem as problem:
                failed = True
                typer.echo(f"error: {path}: {problem.reason}", err=True)
                continue
            typer.echo(_as_json(path, transcript) if json else _as_text(path, transcript, several=len(files) > 1))
        if failed:
            raise typer.Exit(2)


def _as_text(path: Path, transcript: Transcript, *, several: bool) -> str:
    return f"{path}: {transcript.text}" if several else transcript.text


def _as_json(path: Path, transcript: Transcript) -> str:
    pieces = [
        {"start": round(p.start, 3), "end": round(p.end, 3), "text": p.text, "score": p.score}
        for p in transcript.pieces
    ]
    content = {"file": str(path), "text": transcript.text, "seconds": round(transcript.seconds, 3), "pieces": pieces}
    return jsonlib.dumps(content, ensure_ascii=False)
