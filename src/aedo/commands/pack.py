"""aedo pack: prepared data in a few large files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command()
    def pack(
        data: Annotated[Path, typer.Argument(help="Prepared folder.", show_default=False)],
        out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write; --data takes it everywhere.")],
        shard: Annotated[int, typer.Option(min=1, help="Utterances in a tar file.")] = 1000,
    ) -> None:
        """Pack a prepared folder into tar files (lhotse's Shar): the same data in few large files.

        For file systems that are slow at many small ones.  Everything gives the same results with it, bit for bit.
        """
        from aedo.commands.prepare import progress_bar
        from aedo.data.pack import pack

        with progress_bar("packing") as update:
            counts = pack(data, out, shard=shard, progress=update)
        for split, count in counts.items():
            typer.echo(f"{split}: {count} utterances")
        typer.echo(f"{out} is ready for --data")
