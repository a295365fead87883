import pytest
import torch

from aedo.data.audio import AudioConfig
from aedo.errors import UserError
from aedo.search.recognize import Recognizer
from aedo.stream.engine import StreamEngine
from tests.stream.tiny import TOKENIZER, tiny_engine, tiny_experiment, tiny_model, tiny_recognizer
from tests.train.micro import micro_experiment


def test_latency_is_the_chunk_and_what_is_heard_behind_it():
    latency = tiny_engine(kept=5, look_ahead=3).latency
    assert (latency.chunk, latency.look_ahead, latency.window) == (300, 180, 15)
    assert latency.worst == 495
    assert latency.mean == 345


def test_a_model_that_hears_utterances_whole_is_refused_with_what_to_train():
    experiment = micro_experiment()
    recognizer = Recognizer(experiment.build_model(TOKENIZER.size), TOKENIZER, experiment.search)
    with pytest.raises(UserError, match=r"an4-stream.*chunkaed20_15"):
        StreamEngine(recognizer, AudioConfig(peak_normalize=False))


def test_a_chunked_model_without_a_decoder_is_refused_for_that():
    experiment = tiny_experiment(search="ctc_greedy").with_("decoder", None)
    recognizer = Recognizer(experiment.build_model(TOKENIZER.size), TOKENIZER, experiment.search)
    with pytest.raises(UserError, match="no decoder"):
        StreamEngine(recognizer, AudioConfig(peak_normalize=False))


def test_a_language_model_or_phrases_are_refused():
    experiment = tiny_experiment(search="joint").with_("search.hotwords", ("abc",))
    recognizer = Recognizer(tiny_model(experiment, 0), TOKENIZER, experiment.search)
    with pytest.raises(UserError, match="hotwords"):
        StreamEngine(recognizer, AudioConfig(peak_normalize=False))


def test_a_model_trained_on_normalised_audio_is_refused():
    with pytest.raises(UserError, match="nopeaknorm"):
        StreamEngine(tiny_recognizer(), AudioConfig())


def test_another_search_is_refused():
    recognizer = tiny_recognizer(search="ctc_greedy")
    with pytest.raises(UserError, match="joint or attention"):
        StreamEngine(recognizer, AudioConfig(peak_normalize=False))


def test_what_streams_carry_is_counted_in_bytes():
    engine = tiny_engine()
    carried = engine.start()
    assert carried.size > 0
    assert (
        carried.size
        == sum(
            tensor.nbytes
            for tensor in [*vars(carried.beam).values(), *carried.beam.state.lstm]
            if torch.is_tensor(tensor)
        )
        + sum(
            tensor.nbytes
            for tensor in (carried.beam.state.context, carried.beam.state.accumulated, carried.beam.state.weights)
        )
        + carried.encoder.chunks.nbytes
    )
