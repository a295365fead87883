"""The search of streaming models: scores, batches, chunks one by one, and what it carries."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from aedo.errors import UserError
from aedo.experiment import Experiment
from aedo.features.logmel import Features
from aedo.losses.ctc import ctc_loss
from aedo.model.aed import AED
from aedo.model.encoder import Encoded
from aedo.model.labels import Labels
from aedo.search.chunked import ChunkBeam, ChunkSearch, chunked_search
from aedo.search.config import Kind, SearchConfig
from aedo.search.run_search import run_search

V, KEPT = 4, 3
LENGTHS = torch.tensor([60, 18, 35, 41])
FEATURES = Features(torch.randn(4, 60, 80, generator=torch.Generator().manual_seed(2)), LENGTHS)


@pytest.fixture(scope="module")
def model() -> AED:
    torch.manual_seed(4)
    encoder = {
        "layers": 1,
        "dim": 8,
        "attention": {"heads": 2},
        "feed_forward": {"dim": 8},
        "convolution": {"kernel": 3},
        "streaming": {"kept": KEPT, "look_ahead": 1, "history": 1},
    }
    decoder = {"embedding_dim": 4, "attention_dim": 6, "lstm_dim": 5, "readout_dim": 6}
    tree = {"frontend": {"channels": (2, 2, 4)}, "encoder": encoder, "ctc": {"layers": (1,)}, "decoder": decoder}
    model = Experiment.model_validate(tree).build_model(V).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return model


@pytest.fixture(scope="module")
def encoded(model: AED) -> Encoded:
    with torch.no_grad():
        found: Encoded = model.encode(FEATURES)
    return found


def labels_of(ids: tuple[int, ...]) -> Labels:
    return Labels(torch.tensor([ids], dtype=torch.int64).view(1, -1), torch.tensor([len(ids)]))


def ctc_score(model: AED, encoded: Encoded, ids: tuple[int, ...]) -> float:
    labels = labels_of(ids)
    log_probs = model.ctc_log_probs(encoded).clone()
    log_probs[..., 0] = float("-inf")  # the end of a chunk is no symbol of the frames
    return -float(ctc_loss(log_probs, encoded.lengths, labels.ids, labels.lengths))


def decoder_score(model: AED, encoded: Encoded, ids: tuple[int, ...]) -> float:
    """Of an utterance of one chunk."""
    assert model.decoder is not None
    output = model.decoder(encoded, labels_of(ids).with_eos())
    return float(output.logits.log_softmax(-1).gather(1, output.targets[:, None]).sum())


@pytest.mark.parametrize("scale", [0.0, 0.3, 1.0])
@torch.no_grad()
def test_hypotheses_of_one_chunk_score_what_decoder_and_ctc_say_of_them(
    model: AED, encoded: Encoded, scale: float
) -> None:
    one = encoded.select(torch.tensor([1]))
    assert int(one.lengths[0]) == KEPT
    config = SearchConfig(beam=50, ctc_scale=scale, considered=None)
    kind: Kind = "joint" if scale else "attention"
    checked = 0
    for ids, score in chunked_search(model, one, config, kind).hypotheses(0):
        ctc = ctc_score(model, one, ids) if scale else 0.0
        if ctc < 0.0 or not scale:  # else the labels need more frames than there are
            expected = (1 - scale) * decoder_score(model, one, ids) + scale * ctc
            assert score == pytest.approx(expected, abs=1e-4)
            checked += 1
    assert checked > 5


@torch.no_grad()
def test_over_many_chunks_ctc_alone_gives_the_sum_of_all_paths(model: AED, encoded: Encoded) -> None:
    """Wherever a label begins: hypotheses that differ in that alone become one."""
    config = SearchConfig(beam=400, ctc_scale=1.0, considered=None)
    part = encoded.select(torch.tensor([2]))  # two chunks
    found = chunked_search(model, part, config, "joint").hypotheses(0)
    assert len({ids for ids, _ in found}) == len(found)
    for ids, score in found[:30]:
        assert score == pytest.approx(ctc_score(model, part, ids), abs=1e-4)


def expected_alone(model: AED, config: SearchConfig, kind: Kind, encoded: Encoded, row: int) -> Any:
    return chunked_search(model, encoded.select(torch.tensor([row])), config, kind).hypotheses(0)


KINDS: tuple[Kind, ...] = ("attention", "joint")


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_batch_gives_what_its_utterances_give_alone(model: AED, encoded: Encoded, kind: Kind) -> None:
    config = SearchConfig(beam=5, ctc_scale=0.4)
    batch = run_search(model, encoded, config, kind)
    for row in range(len(LENGTHS)):
        alone = expected_alone(model, config, kind, encoded, row)
        assert [h.labels for h in batch.hypotheses(row)] == [h.labels for h in alone]
        assert [h.score for h in batch.hypotheses(row)] == pytest.approx([h.score for h in alone], abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_streams_that_join_late_get_what_they_get_alone(model: AED, encoded: Encoded, kind: Kind) -> None:
    config = SearchConfig(beam=5, ctc_scale=0.4)
    search = ChunkSearch(model, config, kind)

    def chunk(rows: list[tuple[int, int]]) -> Encoded:
        parts = [encoded.select(torch.tensor([row])) for row, _ in rows]
        cuts = [slice(number * KEPT, (number + 1) * KEPT) for _, number in rows]
        states = torch.cat([part.states[:, cut] for part, cut in zip(parts, cuts)])
        layers = {1: torch.cat([part.layers[1][:, cut] for part, cut in zip(parts, cuts)])}
        mask = torch.cat([part.mask[:, cut] for part, cut in zip(parts, cuts)])
        return Encoded(states, mask.sum(1), mask, layers)

    beam = search.advance(chunk([(0, 0)]), search.start(1))
    beam = ChunkBeam.joined([beam, search.start(1)])
    for number in range(2):  # utterance 2 has two chunks
        beam = search.advance(chunk([(0, number + 1), (2, number)]), beam)
    late = beam.select(torch.tensor([1])).nbest().hypotheses(0)
    assert [h.labels for h in late] == [h.labels for h in expected_alone(model, config, kind, encoded, 2)]
    beam = search.advance(chunk([(0, 3)]), beam.select(torch.tensor([0])))
    first = beam.nbest().hypotheses(0)
    assert [h.labels for h in first] == [h.labels for h in expected_alone(model, config, kind, encoded, 0)]


@torch.no_grad()
def test_what_all_agree_on_can_be_taken_off(model: AED, encoded: Encoded) -> None:
    search = ChunkSearch(model, SearchConfig(beam=3), "attention")
    beam = search.start(1)
    assert int(beam.agreed()) == 0
    part = slice(0, KEPT)
    chunk = Encoded(encoded.states[:1, part], torch.tensor([KEPT]), encoded.mask[:1, part], {})
    beam = search.advance(chunk, beam)
    lists = [h.labels for h in beam.nbest().hypotheses(0)]
    shared = 0
    while all(len(ids) > shared for ids in lists) and len({ids[: shared + 1] for ids in lists}) == 1:
        shared += 1
    assert int(beam.agreed()) == shared
    shorter = beam.without(torch.tensor([1]))
    assert [h.labels for h in shorter.nbest().hypotheses(0)] == [ids[1:] for ids in lists]


@torch.no_grad()
def test_a_chunk_has_no_more_labels_than_frames(model: AED, encoded: Encoded) -> None:
    config = SearchConfig(beam=4, length_reward=50.0)
    found = chunked_search(model, encoded, config, "attention")
    counts = (-(-encoded.lengths // KEPT)) * KEPT
    assert found.lengths[:, 0].tolist() == counts.tolist()


@pytest.mark.parametrize(
    ("config", "kind", "message"),
    [
        (SearchConfig(), "joint_time", "--search joint-time: not there for streaming models"),
        (SearchConfig(coverage_scale=0.1), "joint", "search.coverage_scale 0.1: the search of streaming models"),
        (SearchConfig(soft_collapse=0.9), "joint", "search.soft_collapse 0.9"),
    ],
)
def test_what_the_search_does_not_know_is_refused(
    model: AED, encoded: Encoded, config: SearchConfig, kind: Kind, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run_search(model, encoded, config, kind)
