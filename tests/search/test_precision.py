"""Fewer bits: what is changed, and how little comes of it."""

from __future__ import annotations

import pytest
import torch

from aedo.errors import UserError
from aedo.search.config import SearchConfig
from aedo.search.precision import Precision, lowered, precision_of
from aedo.search.recognize import Recognizer
from tests.score.runs import small_experiment
from tests.search.speech import TOKENIZER, speech


def recognizer(precision: Precision) -> Recognizer:
    torch.manual_seed(1)
    model = small_experiment().build_model(TOKENIZER.size)
    return Recognizer(model, TOKENIZER, SearchConfig(beam=2), precision=precision)


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 0.0), ("bfloat16", 0.1), ("int8", 0.1)])
def test_the_encoder_gives_nearly_the_same(precision: Precision, tolerance: float) -> None:
    audio = [speech(1.0, 1), speech(0.7, 2)]
    exact, found = recognizer("float32"), recognizer(precision)
    first, second = exact.encode(audio), found.encode(audio)
    assert first is not None
    assert second is not None
    a, b = first.encoded.states, second.encoded.states.float()
    assert (a - b).abs().max() <= tolerance * a.abs().max()
    assert (precision == "float32") == torch.equal(a, b)
    assert len(found.recognize(audio)) == 2


def test_int8_replaces_every_linear_layer_and_nothing_else() -> None:
    model = recognizer("int8").model
    kinds = {type(module).__module__ for module in model.modules() if type(module).__name__ == "Linear"}
    assert kinds == {"torch.ao.nn.quantized.dynamic.modules.linear"}
    assert any(isinstance(module, torch.nn.Conv2d) for module in model.modules())


def test_bfloat16_is_float32_where_the_processor_would_only_emulate_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("aedo.search.precision.emulates_bfloat16", lambda device: device == "cpu")
    assert precision_of("bfloat16", "cuda:0") == "bfloat16"
    assert precision_of("int8", "cpu") == "int8"
    assert not caplog.records
    assert precision_of("bfloat16", "cpu") == "float32"
    assert "computing in float32 instead" in caplog.text


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UserError, match="--precision int4: unknown; use float32, bfloat16, int8"):
        precision_of("int4", "cpu")
    with pytest.raises(UserError, match="int8 runs on the CPU alone"):
        lowered(small_experiment().build_model(5), "int8", torch.device("cuda"))
