"""The E-Branchformer: sizes by hand, padding, chunks, growth, width, gradients, and what its tags refuse."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from aedo.errors import UserError
from aedo.experiment import Experiment
from aedo.model.aed import AED
from aedo.model.ebranchformer import EBranchformerConfig
from aedo.model.encoder import Encoder
from aedo.nn.advance import advance
from aedo.recipes.names import resolve
from aedo.schedule import START

QUIET: dict[str, Any] = {
    "layers": 2,
    "dim": 8,
    "feed_forward": {"dim": 16},
    "attention": {"heads": 2, "dropout": 0.0},
    "gating": {"dim": 6, "kernel": 5},
    "dropout": {"rate": 0.0},
}


def quiet(**fields: Any) -> Encoder:
    torch.manual_seed(2)
    encoder = EBranchformerConfig.model_validate({**QUIET, **fields}).build()
    for name, parameter in encoder.named_parameters():
        if name.endswith("bias"):  # zero at the start: a wrong mask would not show
            torch.nn.init.normal_(parameter)
    return encoder


def test_parameters_are_as_many_as_by_hand() -> None:
    d, ff, c, kernel, merge = 8, 16, 6, 5, 3
    norms, feed_forwards = 5 * 2 * d, 2 * (d * ff + ff + ff * d + d)
    attention = 4 * d * d + (2 * 16 + 1) * (d // 2)  # no biases; a table for distances up to 16
    gating = (d * 2 * c + 2 * c) + 2 * c + (kernel * c + c) + (c * d + d)
    merging = (merge * 2 * d + 2 * d) + (2 * d * d + d)
    by_hand = norms + feed_forwards + attention + gating + merging
    assert sum(p.numel() for p in quiet().parameters()) == 2 * by_hand


def test_espnets_encoder_has_espnets_size() -> None:
    """17 blocks of 512, 8 heads, 1024 and 2 x 1536 hidden units, both kernels 31."""
    with torch.device("meta"):
        e = resolve("24gb-v6-ebranchformer-n17-ff1024-swish-relposxl-mergeks31")
        found = sum(p.numel() for p in e.build_model(100).encoder.parameters())
    feed_forwards = 2 * (512 * 1024 + 1024 + 1024 * 512 + 512)
    attention = 4 * (512 * 512 + 512) + 512 * 512 + 2 * 512
    gating = (512 * 3072 + 3072) + 2 * 1536 + 32 * 1536 + (1536 * 512 + 512)
    merging = 32 * 1024 + (1024 * 512 + 512)
    assert found == 17 * (feed_forwards + attention + gating + merging + 5 * 2 * 512)


def test_the_gate_is_the_first_half_and_sees_the_frames_around() -> None:
    module = EBranchformerConfig.model_validate(QUIET)._block().gating
    with torch.no_grad():
        module.depthwise.weight.zero_()
        module.depthwise.bias.fill_(1.0)  # an open gate
    x, mask = torch.randn(1, 9, 8), torch.ones(1, 9, dtype=torch.bool)
    values = torch.nn.functional.gelu(module.hidden(x))[..., 6:]
    torch.testing.assert_close(module(x, mask), module.out(values))
    with torch.no_grad():
        module.depthwise.weight.normal_()
    other = x.clone()
    other[0, 4] += 1
    changed = (module(x, mask) != module(other, mask)).any(-1)[0]
    assert changed.tolist() == [False, False, *[True] * 5, False, False]


@pytest.mark.parametrize("training", [False, True])
def test_an_utterance_alone_gives_what_it_gives_in_a_batch(training: bool) -> None:
    encoder, lengths = quiet().train(training), torch.tensor([9, 5, 1])
    x = torch.randn(3, 12, 8)
    batch = encoder(x, lengths, (1,))
    for row, length in enumerate(lengths.tolist()):
        alone = encoder(x[row : row + 1, :length], torch.tensor([length]), (1,))
        torch.testing.assert_close(batch.states[row, :length], alone.states[0])
        torch.testing.assert_close(batch.layers[1][row, :length], alone.layers[1][0])


def test_with_the_padding_of_the_batch_padding_is_seen() -> None:
    batch, consistent = quiet(padding="batch").eval(), quiet().eval()
    x, lengths = torch.randn(2, 8, 8), torch.tensor([8, 4])
    mine, other = batch(x, lengths).states, consistent(x, lengths).states
    assert torch.equal(mine[0], other[0])
    assert not torch.allclose(mine[1, :4], other[1, :4])


def test_gradients_are_those_of_finite_differences() -> None:
    encoder = quiet(layers=1).double()
    x, lengths = torch.randn(2, 4, 8, dtype=torch.float64, requires_grad=True), torch.tensor([4, 2])
    parameters = [x, *encoder.parameters()]

    def states(*_: Tensor) -> Tensor:
        encoded = encoder(x, lengths)
        valid: Tensor = encoded.states[encoded.mask]
        return valid

    assert torch.autograd.gradcheck(states, parameters, atol=1e-6, rtol=1e-4, fast_mode=True)


def test_training_on_chunks_is_running_the_encoder_on_the_pieces() -> None:
    chunked, whole = quiet(chunk=4).train(), quiet().train()
    x, lengths = torch.randn(2, 10, 8), torch.tensor([10, 5])
    encoded = chunked(x, lengths)
    for row, length in enumerate(lengths.tolist()):
        for start in range(0, length, 4):
            piece = x[row : row + 1, start : min(start + 4, length)]
            alone = whole(piece, torch.tensor([piece.shape[1]])).states[0]
            torch.testing.assert_close(encoded.states[row, start : start + len(alone)], alone)


def test_hidden_units_of_the_gating_not_in_use_yet_learn_nothing() -> None:
    encoder = quiet(width={"kind": "steps", "nodes": (10,), "values": (0.5, 1)}, growth=((10, 1),))
    advance(encoder, START)
    encoder(torch.randn(2, 5, 8), torch.tensor([5, 3])).states.square().sum().backward()
    gradient = encoder.layers[0].gating.out.weight.grad
    assert (gradient[:, 3:] == 0).all()
    assert (gradient[:, :3] != 0).any()
    assert encoder.layers[1].gating.out.weight.grad is None


def test_the_training_step_waits_for_nothing_on_the_device() -> None:
    encoder = quiet(chunk=3).to("meta").train()
    encoder(torch.empty(2, 17, 8, device="meta"), torch.tensor([17, 9])).states.sum().backward()


def test_the_kind_of_the_encoder_is_kept_in_the_tree() -> None:
    e = resolve("tiny-ebranchformer-cgmlp100")
    assert Experiment.model_validate_json(e.model_dump_json()) == e
    tree = resolve("tiny").model_dump()
    del tree["encoder"]["kind"]  # written before there was a choice
    assert Experiment.model_validate(tree) == resolve("tiny")


def test_a_saved_model_gives_the_same() -> None:
    e = resolve("tiny-ebranchformer-d16ff16").with_("encoder.attention.heads", 2)
    one, other = e.build_model(7).eval(), e.build_model(7).eval()
    other.load_state_dict(one.state_dict())
    audio, lengths = torch.randn(2, 8000), torch.tensor([8000, 5000])
    assert torch.equal(encoded(one, audio, lengths), encoded(other, audio, lengths))


def encoded(model: AED, audio: Tensor, lengths: Tensor) -> Tensor:
    states = model.encode(model.features(audio, lengths)).states
    return states


@pytest.mark.parametrize("tag", ["ln", "bnnomask", "nofix245"])
def test_what_only_a_conformer_has_is_refused(tag: str) -> None:
    with pytest.raises(UserError, match=rf"{tag} does not fit here: EBranchformerConfig has no field"):
        resolve(f"24gb-v6-ebranchformer-{tag}")


@pytest.mark.parametrize("tag", ["cgmlp100", "mergeks5"])
def test_what_only_an_ebranchformer_has_is_refused_elsewhere(tag: str) -> None:
    with pytest.raises(UserError, match=rf"{tag} does not fit here: it needs an E-Branchformer; add ebranchformer"):
        resolve(f"24gb-v6-{tag}")


def test_the_size_it_has_already_is_refused() -> None:
    with pytest.raises(UserError, match="384 is three times the model's dimension already"):
        resolve("tiny-ebranchformer-cgmlp384")


def test_its_tags_combine_with_those_of_every_encoder() -> None:
    e = resolve("24gb-v6-ebranchformer-d384ff1024-h6-n17-relposxl-swish-drop02-pretrain-chunk50-ks15-batchpad")
    assert e.encoder.kind == "ebranchformer"
    assert (e.encoder.dim, e.encoder.feed_forward.dim, e.encoder.attention.heads, e.encoder.layers) == (
        384,
        1024,
        6,
        17,
    )
    assert (e.encoder.attention.position.kind, e.encoder.feed_forward.activation) == ("transformer_xl", "swish")
    assert (e.encoder.gating.kernel, e.encoder.padding, e.encoder.chunk) == (15, "batch", 50)
    assert len(e.encoder.growth) == 3
