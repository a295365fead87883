"""What the search of streaming models keeps open, and what is decided."""

import pytest
import torch

from aedo.search.chunked import ChunkSearch
from tests.stream.tiny import bursts, tiny_recognizer


def beams(seed, audio):
    """The beam behind every chunk."""
    recognizer = tiny_recognizer(seed, beam=6)
    search = ChunkSearch(recognizer.model, recognizer.config, recognizer.kind)
    encoded = recognizer.encode([audio]).encoded
    beam, frames = search.start(1), search.decoder.frames
    for start in range(0, encoded.states.shape[1], frames):
        part = slice(start, start + frames)
        lengths = (encoded.lengths - start).clamp(max=frames)
        chunk = type(encoded)(encoded.states[:, part], lengths, encoded.mask[:, part], {})
        beam = search.advance(chunk, beam)
        yield search, beam


@pytest.mark.parametrize("seed", [3, 8, 9, 10])
def test_hypotheses_agree_on_what_is_behind_the_open_chunks(seed):
    for search, beam in beams(seed, bursts(4, seed)):
        possible = beam.scores[0] > float("-inf")
        decided = {
            tuple(labels[:length][chunks[:length] < beam.heard[0, 0] - search.open].tolist())
            for labels, chunks, length in zip(
                beam.labels[0][possible], beam.chunks[0][possible], beam.lengths[0][possible], strict=True
            )
        }
        start = min(decided, key=len)
        assert all(labels[: len(start)] == start for labels in decided)


def test_scores_stay_small_and_add_up():
    for _, beam in beams(8, bursts(4, 8)):
        assert beam.scores[0, 0] == 0
        assert (beam.scores <= 0).all()
        assert (beam.passed == beam.passed[:, :1]).all()
        assert beam.nbest().scores[0, 0] == pytest.approx(float(beam.passed[0, 0]), abs=1e-4)
        assert torch.isfinite(beam.passed).all()
