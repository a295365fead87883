from __future__ import annotations

import pytest
import torch

from aedo.experiment import Experiment
from aedo.features.logmel import Features
from aedo.model.aed import AED
from aedo.model.labels import Labels, pack


@pytest.fixture(scope="module")
def model() -> AED:
    torch.manual_seed(0)
    small = {"channels": (2, 2, 4)}
    encoder = {
        "layers": 1,
        "dim": 8,
        "attention": {"heads": 2},
        "feed_forward": {"dim": 8},
        "convolution": {"kernel": 3},
    }
    decoder = {"embedding_dim": 4, "attention_dim": 6, "lstm_dim": 5, "readout_dim": 6}
    tree = {"frontend": small, "encoder": encoder, "ctc": {"layers": (1,)}, "decoder": decoder}
    return Experiment.model_validate(tree).build_model(7).eval()


FEATURES = Features(torch.randn(3, 60, 80, generator=torch.Generator().manual_seed(1)), torch.tensor([60, 35, 50]))
LABELS = Labels(torch.tensor([[3, 1, 0], [5, 2, 6], [4, 0, 0]]), torch.tensor([2, 3, 1]))


def test_teacher_forcing_equals_step_by_step(model: AED) -> None:
    encoded, labels = model.encode(FEATURES), LABELS.with_eos()
    assert model.decoder is not None
    packed = model.decoder(encoded, labels, keep_attention=True)
    memory = model.decoder.memory(encoded)
    state, previous = model.decoder.start(memory), None
    for position in range(labels.ids.shape[1]):
        logits, state = model.decoder.step(memory, previous, state)
        at = packed.packing.positions == position
        rows = packed.packing.rows[at]
        torch.testing.assert_close(packed.logits[at], logits[rows, 0], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(packed.attention[at], state.weights[rows, 0], rtol=1e-5, atol=1e-6)
        previous = labels.ids[:, position : position + 1]


def test_an_utterance_alone_gives_what_it_gives_in_a_batch(model: AED) -> None:
    outputs = model(FEATURES, LABELS)
    for row in range(3):
        length = int(FEATURES.lengths[row])
        count = int(LABELS.lengths[row])
        alone = model(
            Features(FEATURES.values[row : row + 1, :length], torch.tensor([length])),
            Labels(LABELS.ids[row : row + 1, :count], torch.tensor([count])),
        )
        mine = outputs.decoder.packing.rows == row
        torch.testing.assert_close(outputs.decoder.logits[mine], alone.decoder.logits, rtol=1e-4, atol=1e-5)


def test_hypotheses_are_reordered_by_gather(model: AED) -> None:
    assert model.decoder is not None
    memory = model.decoder.memory(model.encode(FEATURES))
    _, state = model.decoder.step(memory, None, model.decoder.start(memory))
    rows, back = torch.tensor([2, 0]), torch.tensor([[0, 0], [0, 0]])
    gathered = state.gather(rows, back)
    assert gathered.context.shape == (2, 2, 8)
    assert torch.equal(gathered.lstm.hidden[0, 1], state.lstm.hidden[2, 0])


def test_packing_names_every_label_once() -> None:
    packing = pack(torch.tensor([2, 3, 1]), torch.device("cpu"))
    assert packing.order.tolist() == [1, 0, 2]
    assert packing.active == (3, 2, 1)
    assert sorted(zip(packing.rows.tolist(), packing.positions.tolist())) == [
        (0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 0),
    ]  # fmt: skip


def test_gradients_reach_every_parameter(model: AED) -> None:
    outputs = model(FEATURES, LABELS)
    (outputs.decoder.logits.sum() + sum(logits.sum() for logits in outputs.ctc_logits.values())).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    model.zero_grad()
