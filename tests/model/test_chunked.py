"""Streaming models: all chunks at once and one after the other, padding, and what the decoder learns."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from aedo.experiment import Experiment
from aedo.features.logmel import Features
from aedo.model.aed import AED
from aedo.model.chunked import ChunkState
from aedo.model.chunked_decoder import ChunkedLstmDecoder
from aedo.model.chunked_labels import chunk_targets, chunks_of, with_ends
from aedo.model.encoder import Encoded
from aedo.model.labels import Labels

SIZES = {"kept": 3, "look_ahead": 2, "history": 2}
VARIANTS: dict[str, dict[str, Any]] = {
    "clipped": {},
    "transformer_xl": {"attention": {"heads": 2, "position": {"kind": "transformer_xl"}}},
    "rotary": {"attention": {"heads": 2, "position": {"kind": "rotary"}, "qk_norm": "l2"}},
    "layer norm": {"convolution": {"kernel": 4, "norm": {"kind": "layer"}}},
    "original": {"streaming": {**SIZES, "original": True}},
    "no history": {"streaming": {**SIZES, "history": 0}},
    "no look-ahead": {"streaming": {**SIZES, "look_ahead": 0}},
}


def experiment(decoder: dict[str, Any] | None = None, **encoder: Any) -> Experiment:
    whole = {
        "layers": 2,
        "dim": 8,
        "attention": {"heads": 2},
        "feed_forward": {"dim": 8},
        "convolution": {"kernel": 5},
        "streaming": SIZES,
        **encoder,
    }
    small = {"embedding_dim": 4, "attention_dim": 6, "lstm_dim": 5, "readout_dim": 6, **(decoder or {})}
    return Experiment.model_validate(
        {"frontend": {"channels": (2, 2, 4)}, "encoder": whole, "ctc": {"layers": (1, 2)}, "decoder": small}
    )


def model_of(decoder: dict[str, Any] | None = None, **encoder: Any) -> AED:
    torch.manual_seed(0)
    model = experiment(decoder, **encoder).build_model(7)
    model.train()(FEATURES, LABELS)  # statistics and tables that are not those of the start
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


LENGTHS = torch.tensor([100, 54, 37, 1])
FEATURES = Features(torch.randn(4, 100, 80, generator=torch.Generator().manual_seed(1)), LENGTHS)
LABELS = Labels(torch.tensor([[3, 1, 4], [5, 2, 0], [4, 0, 0], [6, 0, 0]]), torch.tensor([3, 2, 1, 1]))


def by_steps(model: AED, features: Features) -> list[Encoded]:
    """Chunk by chunk, each utterance as a stream of its own among the others, until it ends."""
    chunked = model.chunked
    assert chunked is not None
    state, found = chunked.start(len(features.lengths)), []
    values = torch.nn.functional.pad(features.values, (0, 0, 0, chunked.window), value=17.0)
    for number in range(int(chunked.count(features.lengths).max())):
        first = number * chunked.stride
        lengths = (features.lengths - first).clamp(0, chunked.window)
        running = (lengths > 0).nonzero()[:, 0]
        chunk = Features(values[: len(state.chunks), first : first + chunked.window], lengths[: len(state.chunks)])
        encoded, state = chunked.step(chunk, state, (1, 2))
        found.append(encoded)
        following = (features.lengths > first + chunked.stride).nonzero()[:, 0]
        assert len(running) == len(encoded.lengths)
        state = state.select(following)
    return found


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_all_chunks_at_once_equal_one_after_the_other(name: str) -> None:
    model = model_of(**VARIANTS[name])
    whole = model.encode(FEATURES)
    steps, kept = by_steps(model, FEATURES), 3
    for row, length in enumerate(whole.lengths.tolist()):
        chunks = -(-length // kept)
        for layer in (1, 2):
            joined = torch.cat([step.layers[layer][row, : step.lengths[row]] for step in steps[:chunks]])
            torch.testing.assert_close(joined, whole.layers[layer][row, :length], rtol=1e-5, atol=1e-6)
        assert sum(int(step.lengths[row]) for step in steps[:chunks]) == length


@torch.no_grad()
def test_frames_are_those_of_the_utterance_and_in_the_original_whole_chunks() -> None:
    assert model_of().encode(FEATURES).lengths.tolist() == [17, 9, 7, 1]
    whole = model_of(**VARIANTS["original"])
    assert whole.encode(FEATURES).lengths.tolist() == [18, 9, 9, 3]
    assert whole.encoder_frames(torch.tensor([400 + 99 * 160])).tolist() == [18]


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_an_utterance_alone_gives_what_it_gives_in_a_batch(name: str) -> None:
    model = model_of(**VARIANTS[name])
    batch = model.encode(FEATURES)
    for row, length in enumerate(LENGTHS.tolist()):
        alone = model.encode(Features(FEATURES.values[row : row + 1, :length], LENGTHS[row : row + 1]))
        count = int(alone.lengths[0])
        assert count == int(batch.lengths[row])
        torch.testing.assert_close(alone.states[0, :count], batch.states[row, :count], rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_a_chunk_hears_nothing_behind_its_look_ahead() -> None:
    model = model_of()
    other = FEATURES.values.clone()
    other[0, 30:] = 5.0  # the first chunk is frames 0 to 29
    one, two = (model.encode(Features(values, LENGTHS)).states[0] for values in (FEATURES.values, other))
    assert torch.equal(one[:3], two[:3])
    assert bool((one[3:6] != two[3:6]).any())


@torch.no_grad()
def test_streams_can_join_and_leave_a_batch() -> None:
    model = model_of()
    chunked = model.chunked
    assert chunked is not None

    def chunk(row: int, number: int) -> Features:
        first = number * chunked.stride
        values = torch.nn.functional.pad(FEATURES.values[row], (0, 0, 0, chunked.window))
        length = (LENGTHS[row : row + 1] - first).clamp(max=chunked.window)
        return Features(values[None, first : first + chunked.window], length)

    _, early = chunked.step(chunk(0, 0), chunked.start(1))
    both = ChunkState.joined([early, chunked.start(1)])
    pair = [chunk(0, 1), chunk(1, 0)]
    joined = Features(torch.cat([x.values for x in pair]), torch.cat([x.lengths for x in pair]))
    encoded, state = chunked.step(joined, both)
    whole = model.encode(FEATURES).states
    torch.testing.assert_close(encoded.states[0], whole[0, 3:6], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(encoded.states[1], whole[1, :3], rtol=1e-5, atol=1e-6)
    late, _ = chunked.step(chunk(1, 1), state.select(torch.tensor([1])))
    torch.testing.assert_close(late.states[0], whole[1, 3:6], rtol=1e-5, atol=1e-6)
    assert ChunkState.joined([chunked.start(2), chunked.start(1)]).chunks.tolist() == [0, 0, 0]


DECODERS: dict[str, dict[str, Any]] = {
    "feedback": {},
    "no feedback": {"weight_feedback": False},
    "heads": {"attention_heads": 3},
}


@pytest.mark.parametrize("name", DECODERS)
@torch.no_grad()
def test_teacher_forcing_equals_label_by_label(name: str) -> None:
    model = model_of(DECODERS[name])
    decoder, encoded = model.decoder, model.encode(FEATURES)
    assert isinstance(decoder, ChunkedLstmDecoder)
    targets = chunk_targets(LABELS, encoded.lengths, 3, model.ctc_heads.of(2)(encoded.layers[2]))
    packed = decoder(encoded, targets, keep_attention=True)
    assert packed.attention is not None
    torch.testing.assert_close(packed.attention.sum(1), torch.ones(len(packed.targets)))
    memory = decoder.memory(encoded)
    state, before = decoder.start(memory), None
    for position in range(targets.ids.shape[1]):
        logits, state = decoder.step(memory, before, state)
        at = packed.packing.positions == position
        rows = packed.packing.rows[at]
        torch.testing.assert_close(packed.logits[at], logits[rows, 0], rtol=1e-5, atol=1e-6)
        places = state.chunk[rows] * 3 + torch.arange(3)
        weights = torch.nn.functional.pad(packed.attention[at], (0, 1)).gather(1, places)
        torch.testing.assert_close(weights, state.decoder.weights[rows, 0], rtol=1e-5, atol=1e-6)
        before = targets.ids[:, position : position + 1]


def test_every_chunk_has_its_labels_and_an_end() -> None:
    labels = Labels(torch.tensor([[3, 1, 4], [5, 2, 0]]), torch.tensor([3, 2]), torch.tensor([[0, 2, 2], [1, 0, 0]]))
    targets = with_ends(labels, torch.tensor([[0, 2, 2], [1, 0, 0]]), torch.tensor([4, 2]))
    assert targets.lengths.tolist() == [7, 4]
    assert targets.ids.tolist() == [[3, 0, 0, 1, 4, 0, 0], [0, 5, 2, 0, 0, 0, 0]]  # labels stay in order
    back = chunks_of(targets)
    assert back.ids.tolist() == [[3, 1, 4], [5, 2, 0]]
    assert back.lengths.tolist() == [3, 2]
    assert back.chunks is not None
    assert back.chunks.tolist() == [[0, 2, 2], [1, 1, 0]]


def test_labels_behind_the_last_chunk_go_to_it() -> None:
    targets = with_ends(LABELS, torch.full((4, 3), 9), torch.tensor([2, 1, 1, 3]))
    assert targets.ids.tolist() == [[0, 3, 1, 4, 0], [5, 2, 0, 0, 0], [4, 0, 0, 0, 0], [0, 0, 6, 0, 0]]


def test_the_best_ctc_path_tells_in_which_chunk_a_label_ends() -> None:
    logits = torch.full((1, 8, 8), -9.0)
    for frame, symbol in enumerate([7, 3, 3, 3, 1, 7, 7, 4]):
        logits[0, frame, symbol] = 9.0
    labels = Labels(torch.tensor([[3, 1, 4]]), torch.tensor([3]))
    targets = chunk_targets(labels, torch.tensor([8]), 3, logits)
    assert targets.ids.tolist() == [[0, 3, 1, 0, 4, 0]]  # 3 begins in the first chunk and ends in the second


def test_labels_that_know_their_chunks_need_no_ctc() -> None:
    labels = LABELS._replace(chunks=torch.tensor([[0, 0, 1], [0, 0, 0], [1, 0, 0], [0, 0, 0]]))
    targets = chunk_targets(labels, torch.tensor([6, 3, 6, 1]), 3, None)
    assert targets.ids.tolist() == [[3, 1, 0, 4, 0], [5, 2, 0, 0, 0], [0, 4, 0, 0, 0], [6, 0, 0, 0, 0]]
    with pytest.raises(ValueError, match="no CTC head"):
        chunk_targets(LABELS, torch.tensor([6, 3, 6, 1]), 3, None)


def test_gradients_reach_every_parameter() -> None:
    model = model_of().train()
    outputs = model(FEATURES, LABELS)
    assert outputs.decoder is not None
    heads = [logits.square().mean() for logits in outputs.ctc_logits.values()]
    (outputs.decoder.logits.square().mean() + sum(heads)).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not bool(p.grad.any())] == []


def test_a_streaming_model_has_the_parameters_of_the_model_that_hears_all() -> None:
    streaming, whole = experiment(), experiment(streaming=None)
    torch.manual_seed(3)
    one = streaming.build_model(7).state_dict()
    torch.manual_seed(3)
    other = whole.build_model(7).state_dict()
    assert list(one) == list(other)
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("encoder.chunk", 50, "does not go together with encoder.chunk"),
        ("encoder.attention.window", 9, "does not go together with encoder.attention.window"),
        ("decoder", {"kind": "transformer", "dim": 8, "heads": 2}, "attends to whole utterances"),
        ("decoder.second", "stacked", "decoder.second stacked is not there for chunks"),
        ("frontend", {"kind": "blstm"}, "a front-end of kind blstm hears utterances whole"),
        ("features.normalize", {"kind": "utterance"}, "hears all of it first"),
        ("ctc.layers", (), "ctc.layers is empty"),
        ("search.kind", "joint_time", "search.kind joint_time is not there for chunks"),
    ],
)
def test_what_cannot_be_done_in_chunks_is_refused(path: str, value: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        experiment().with_(path, value)


def test_a_ctc_model_may_stream_without_a_decoder() -> None:
    model = experiment().with_("decoder", None).build_model(7)
    outputs = model(FEATURES, LABELS)
    assert outputs.decoder is None
    assert outputs.ctc_logits[2].shape[:2] == (4, 17)
