"""Streams for programs in Python; see docs/streaming.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy.typing as npt

from aedo.errors import UserError
from aedo.stream.engine import StreamEngine
from aedo.stream.pcm import piece_blocks
from aedo.stream.session import Stream, StreamResult, stream_results


def stream_pieces(
    engine: StreamEngine,
    pieces: Iterable[npt.ArrayLike | bytes],
    sample_rate: int | None = None,
    endpoint: float | None = None,
) -> Iterator[StreamResult]:
    """Results of a stream as its pieces come: float arrays [N], int16 arrays [N] or bytes of 16-bit PCM, mono.

    sample_rate: of the pieces, by default the model's, which it must be.  endpoint: as of `Stream`.

    Raises UserError at once for another rate; for a bad piece, when all that came before it has been recognised.
    """
    if sample_rate is not None and sample_rate != engine.rate:
        raise UserError(
            f"the pieces have {sample_rate} Hz, the model expects {engine.rate}; resample them, for instance with "
            f"soxr.ResampleStream({sample_rate}, {engine.rate}, 1)"
        )
    return stream_results(Stream(engine, endpoint), piece_blocks(pieces, engine.rate))
