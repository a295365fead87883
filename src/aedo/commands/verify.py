"""`aedo verify`: our numbers against those the original system computed, from its own checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command()
    def verify(
        folder: Annotated[
            Path,
            typer.Argument(
                help="Folder with a checkpoint (checkpoint.pt or tf-ckpt/), config.json or dims.json, inputs.npz and "
                "what the original computed (outputs.npz or tf_outputs.npz, beam.json)."
            ),
        ],
        every: Annotated[bool, typer.Option("--every", help="A line for every gradient and length, too.")] = False,
    ) -> None:
        """Import weights, run the inputs, compare every station on the way; status 1 where one differs."""
        from aedo.verify.table import print_table
        from aedo.verify.verification import Verification

        if not print_table(Verification.of(folder), every=every):
            raise typer.Exit(1)
