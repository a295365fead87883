"""Recognition does not depend on the batch.  (The searches' own numbers: test_models.)"""

from __future__ import annotations

import pytest

from aedo.data.text import CharTokenizer
from aedo.search.config import SearchConfig
from aedo.search.recognize import Recognizer
from aedo.verify.folder import GoldenFolder
from tests.golden.models import FOLDER, loaded

TOLERANCE = 2e-5


def test_with_consistent_padding_the_batch_changes_nothing() -> None:
    inputs = GoldenFolder.open(FOLDER / "base-bv24").inputs
    utterances = [row[:length].numpy() for row, length in zip(inputs.audio, inputs.lengths.tolist())]
    tokenizer = CharTokenizer([chr(ord("a") + i) for i in range(38)])
    recognizer = Recognizer(loaded("base-bv24")[1], tokenizer, SearchConfig())
    together = recognizer.recognize(utterances, attention=True)
    for utterance, batched in zip(utterances, together, strict=True):
        alone = recognizer.recognize([utterance])[0]
        assert (alone.text, alone.labels) == (batched.text, batched.labels)
        assert [h.labels for h in alone.hypotheses] == [h.labels for h in batched.hypotheses]
        assert alone.score == pytest.approx(batched.score, abs=TOLERANCE)
        assert batched.attention is not None
        assert batched.attention.shape[0] == len(batched.labels) + 1
        assert batched.attention.sum(1) == pytest.approx(1.0, abs=1e-5)
