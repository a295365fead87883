from __future__ import annotations

import torch

from aedo.nn.masks import length_mask
from aedo.nn.norms import BatchNormConfig, LayerNormConfig, _Normed, block_norm


def test_masked_statistics_equal_those_of_the_valid_frames_alone() -> None:
    torch.manual_seed(0)
    x, lengths = torch.randn(3, 7, 4, requires_grad=True), torch.tensor([7, 2, 5])
    mask = length_mask(lengths, 7, x.device)
    norm = BatchNormConfig().build(4).train()
    y = norm(x, mask, int(lengths.sum()))
    rows = x[mask]
    mean, var = rows.mean(0), rows.var(0, unbiased=False)
    torch.testing.assert_close(y[mask], (rows - mean) / (var + 1e-3).sqrt())
    torch.testing.assert_close(norm.running_mean, 0.1 * mean)
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * var)


def test_the_gradients_of_masked_normalisation_are_those_of_its_values() -> None:
    torch.manual_seed(0)
    mask = length_mask(torch.tensor([5, 2]), 5, torch.device("cpu"))[..., None].double()
    x, weight, bias = (torch.randn(*shape, dtype=torch.float64).requires_grad_() for shape in ((2, 5, 3), (3,), (3,)))
    assert torch.autograd.gradcheck(lambda x, w, b: _Normed.apply(x, mask, 7, w, b, 1e-3)[0], (x, weight, bias))


def test_padding_values_do_not_reach_the_valid_frames() -> None:
    torch.manual_seed(0)
    x, mask = torch.randn(2, 5, 3), length_mask(torch.tensor([5, 2]), 5, torch.device("cpu"))
    changed = x.masked_fill(~mask[..., None], 1e3)
    a, b = (BatchNormConfig().build(3).train()(values, mask, 7) for values in (x, changed))
    assert torch.equal(a[mask], b[mask])


def test_unmasked_is_torchs_own_batch_norm() -> None:
    torch.manual_seed(0)
    x, mask = torch.randn(2, 5, 3), torch.ones(2, 5, dtype=torch.bool)
    ours, theirs = BatchNormConfig(masked=False).build(3).train(), torch.nn.BatchNorm1d(3, eps=1e-3).train()
    torch.testing.assert_close(ours(x, mask, 10), theirs(x.transpose(1, 2)).transpose(1, 2))
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    torch.testing.assert_close(ours.eval()(x, mask, 10), theirs.eval()(x.transpose(1, 2)).transpose(1, 2))


def test_layer_norm_takes_the_same_arguments() -> None:
    x = torch.randn(2, 5, 3)
    norm = LayerNormConfig().build(3)
    torch.testing.assert_close(norm(x, torch.ones(2, 5), 10), torch.nn.functional.layer_norm(x, (3,), eps=1e-6))


def test_norms_of_blocks_are_what_they_are_called() -> None:
    x = 3 + 2 * torch.randn(2, 5, 4)
    layer, no_bias, rms = block_norm("layer", 4), block_norm("layer_no_bias", 4), block_norm("rms", 4)
    names = [[name for name, _ in norm.named_parameters()] for norm in (layer, no_bias, rms)]
    assert names == [["weight", "bias"], ["weight"], ["weight"]]
    with torch.no_grad():
        for norm in (layer, no_bias, rms):
            norm.weight.copy_(torch.tensor([1.0, -2, 3, 0]))
        layer.get_parameter("bias").fill_(0.5)
    centred = (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(no_bias(x), centred * no_bias.weight)
    torch.testing.assert_close(layer(x), no_bias(x) + 0.5)
    torch.testing.assert_close(rms(x), x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * rms.weight)
