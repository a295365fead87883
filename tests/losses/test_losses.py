from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

import aedo.losses.cross_entropy
from aedo.conventions import EOS
from aedo.losses.cross_entropy import cross_entropy
from aedo.losses.ctc import CtcConfig, collapse, ctc_loss, label_errors
from aedo.losses.smoothing import smoothed
from aedo.schedule import START, PiecewiseLinear, Progress

BLANK = 4
LENGTHS, LABELS, LABEL_LENGTHS = torch.tensor([6, 4, 1]), torch.tensor([[1, 1, 3], [2, 3, 0], [1, 2, 0]]), [3, 2, 2]


def ctc_gradient(logits: Tensor, **smoothing: float) -> tuple[Tensor, Tensor]:
    """Loss [B] and its gradient at the logits; the last utterance has more labels than frames."""
    logits = logits.detach().requires_grad_()
    loss = ctc_loss(logits.log_softmax(-1), LENGTHS, LABELS, torch.tensor(LABEL_LENGTHS), **smoothing)  # type: ignore[arg-type]
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    return loss.detach(), gradient


def posteriors_by_hand(log_probs: Tensor, labels: list[int]) -> Tensor:
    """[T, V + 1]: how probable a symbol is on a frame, over all paths that collapse to the labels."""
    total = torch.zeros_like(log_probs)
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        if [label for label, _ in itertools.groupby(path) if label != BLANK] == labels:
            probability = torch.stack([log_probs[t, symbol] for t, symbol in enumerate(path)]).sum().exp()
            for t, symbol in enumerate(path):
                total[t, symbol] += probability
    return total / total[0].sum()


def test_smoothing_leaves_the_value_and_smooths_the_gradient() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(6, 5, requires_grad=True), torch.tensor([0, 1, 2, 3, 4, 0])
    plain = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    ours = cross_entropy(logits, targets, 0.1)
    torch.testing.assert_close(ours, plain)
    (gradient,) = torch.autograd.grad(ours.sum(), logits)
    smooth = torch.full((6, 5), 0.1 / 4).scatter_(1, targets[:, None], 0.9)
    torch.testing.assert_close(gradient, logits.softmax(-1).detach() - smooth)


def test_without_smoothing_it_is_plain_cross_entropy() -> None:
    logits, targets = torch.randn(6, 5, requires_grad=True), torch.tensor([0, 1, 2, 3, 4, 0])
    ours = torch.autograd.grad(cross_entropy(logits, targets, 0.0).sum(), logits)[0]
    plain = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, targets, reduction="sum"), logits)[0]
    torch.testing.assert_close(ours, plain)


def test_an_excluded_label_neither_gives_nor_takes() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(4, 5, requires_grad=True), torch.tensor([EOS, 1, 2, 4])
    ours = cross_entropy(logits, targets, 0.3, EOS)
    torch.testing.assert_close(ours, torch.nn.functional.cross_entropy(logits, targets, reduction="none"))
    (gradient,) = torch.autograd.grad(ours.sum(), logits)
    others = [[0, 0.7, 0.1, 0.1, 0.1], [0, 0.1, 0.7, 0.1, 0.1], [0, 0.1, 0.1, 0.1, 0.7]]
    torch.testing.assert_close(gradient, logits.softmax(-1).detach() - torch.tensor([[1.0, 0, 0, 0, 0], *others]))


@pytest.mark.parametrize("excluded", [None, 0, 2])
def test_cross_entropy_and_distributions_are_smoothed_alike(excluded: int | None) -> None:
    logits, targets = torch.randn(5, 5, requires_grad=True), torch.arange(5)
    (ours,) = torch.autograd.grad(cross_entropy(logits, targets, 0.2, excluded).sum(), logits)
    soft = smoothed(torch.eye(5), 0.2, excluded)
    torch.testing.assert_close(soft.sum(-1), torch.ones(5))
    (expected,) = torch.autograd.grad(-(soft * logits.log_softmax(-1)).sum(), logits)
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("excluded", [None, EOS])
@pytest.mark.parametrize("elements", [1, 12, 1000])
def test_rows_of_cross_entropy_may_be_computed_a_few_at_a_time(
    elements: int, excluded: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(7, 5, dtype=torch.float64, requires_grad=True), torch.randint(0, 5, (7,))
    factor = torch.rand(7, dtype=torch.float64)
    soft = smoothed(torch.eye(5, dtype=torch.float64), 0.2, excluded)[targets]
    (expected,) = torch.autograd.grad(-(soft * logits.log_softmax(-1) * factor[:, None]).sum(), logits)
    monkeypatch.setattr(aedo.losses.cross_entropy, "_ELEMENTS", elements)
    (ours,) = torch.autograd.grad((cross_entropy(logits, targets, 0.2, excluded) * factor).sum(), logits)
    torch.testing.assert_close(ours, expected)


def test_cross_entropy_keeps_nothing_but_what_it_is_given() -> None:
    logits, targets = torch.randn(3, 5).bfloat16().requires_grad_(), torch.tensor([1, 0, 4])
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):  # type: ignore[func-returns-value]
        loss = cross_entropy(logits, targets, 0.1)
    assert [x.data_ptr() for x in kept] == [logits.data_ptr(), targets.data_ptr()]
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert gradient.dtype == torch.bfloat16


def test_ctc_sums_over_every_path() -> None:
    torch.manual_seed(0)
    log_probs, labels = torch.randn(1, 4, 3).log_softmax(-1), [0, 0]
    total = torch.tensor(0.0)
    for path in itertools.product(range(3), repeat=4):
        collapsed = [label for label, _ in itertools.groupby(path) if label != 2]
        if collapsed == labels:
            total = total + torch.stack([log_probs[0, t, label] for t, label in enumerate(path)]).sum().exp()
    ours = ctc_loss(log_probs, torch.tensor([4]), torch.tensor([labels]), torch.tensor([2]))
    torch.testing.assert_close(ours[0], -total.log())


def test_labels_that_cannot_fit_cost_nothing() -> None:
    log_probs = torch.randn(1, 2, 3).log_softmax(-1)
    assert ctc_loss(log_probs, torch.tensor([2]), torch.tensor([[0, 0]]), torch.tensor([2])).item() == 0


@pytest.mark.parametrize("smooth_blank", [True, False])
def test_smoothed_ctc_is_cross_entropy_to_the_smoothed_posteriors(smooth_blank: bool) -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 6, 5)
    plain, _ = ctc_gradient(logits)
    loss, gradient = ctc_gradient(logits, smoothing=0.2, smooth_blank=smooth_blank)
    torch.testing.assert_close(loss, plain)
    for row, count, labels in ((0, 6, [1, 1, 3]), (1, 4, [2, 3])):
        exact = posteriors_by_hand(logits[row, :count].log_softmax(-1), labels)
        if smooth_blank:
            soft = 0.75 * exact + 0.05
        else:
            proper = exact[:, :BLANK]
            share = 0.2 / 3
            soft = torch.cat([(0.8 - share) * proper + share * proper.sum(1, keepdim=True), exact[:, BLANK:]], 1)
        expected = torch.zeros(6, 5)
        expected[:count] = logits[row, :count].softmax(-1) - soft
        torch.testing.assert_close(gradient[row], expected, atol=1e-5, rtol=1e-4)
    assert not gradient[2].any(), "labels that do not fit have no posteriors"


def test_leaving_blank_out_is_smoothing_the_labels_given_that_a_frame_is_not_blank() -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 6, 5)
    _, ours = ctc_gradient(logits, smoothing=0.2, smooth_blank=False)
    for row, count, labels in ((0, 6, [1, 1, 3]), (1, 4, [2, 3])):
        posterior = posteriors_by_hand(logits[row, :count].log_softmax(-1), labels)
        leaf = logits[row, :count].clone().requires_grad_()
        log_probs = leaf.log_softmax(-1)
        proper, blank = posterior[:, :BLANK], posterior[:, BLANK]
        not_blank = log_probs[:, :BLANK].logsumexp(-1)
        given = log_probs[:, :BLANK] - not_blank[:, None]
        loss = -(blank * log_probs[:, BLANK] + (1 - blank) * not_blank).sum() - (smoothed(proper, 0.2) * given).sum()
        (expected,) = torch.autograd.grad(loss, leaf)
        torch.testing.assert_close(ours[row, :count], expected, atol=1e-5, rtol=1e-4)


def test_ctc_that_is_not_smoothed_is_bit_for_bit_the_plain_one() -> None:
    logits = torch.randn(3, 6, 5, requires_grad=True)
    plain = torch.nn.functional.ctc_loss(
        logits.log_softmax(-1).transpose(0, 1), LABELS, LENGTHS, torch.tensor(LABEL_LENGTHS), blank=BLANK,
        reduction="none", zero_infinity=True,
    )  # fmt: skip
    loss, gradient = ctc_gradient(logits)
    assert torch.equal(loss, plain)
    assert torch.equal(gradient, torch.autograd.grad(plain.sum(), logits)[0])


def test_scales_belong_to_their_layers() -> None:
    config = CtcConfig(layers=(4, 8), scales=(0.1, 0.2))
    assert [config.scale(layer, START) for layer in config.layers] == [0.1, 0.2]
    assert CtcConfig().scale(8, START) == pytest.approx(1.0)


def test_each_scale_may_be_a_schedule_also_read_from_json() -> None:
    ramp = PiecewiseLinear(unit="fraction", nodes=(1.0,), values=(1.0, 0.0))
    for config in (CtcConfig(layers=(4, 8), scales=(ramp, 0.5)), CtcConfig(layers=(4, 8), scales=ramp)):
        config = CtcConfig.model_validate_json(config.model_dump_json())
        assert config.scale(4, Progress(0, 0, 0.0, 0.25)) == pytest.approx(0.75)
    assert CtcConfig(scales=(ramp, 0.5)).scale(8, START) == 0.5


def test_a_shared_head_is_one_for_all_layers() -> None:
    torch.manual_seed(0)
    own = CtcConfig(layers=(4, 8)).build(6, 9)
    torch.manual_seed(0)
    one = CtcConfig(layers=(4, 8), shared=True).build(6, 9)
    assert list(own.state_dict()) == ["4.weight", "4.bias", "8.weight", "8.bias"]
    assert list(one.state_dict()) == ["shared.weight", "shared.bias"]
    assert one.of(4) is one.of(8)
    assert own.of(4) is not own.of(8)
    assert own.layers == one.layers == (4, 8)
    assert torch.equal(own.state_dict()["4.weight"], one.state_dict()["shared.weight"])
    assert not len(CtcConfig(layers=(), shared=True).build(6, 9))


def test_label_errors_are_the_edit_distance_to_the_collapsed_path() -> None:
    path = torch.tensor([[1, 1, BLANK, 1, 3, EOS], [2, 2, 2, BLANK, 3, 3]])
    logits = torch.nn.functional.one_hot(path, BLANK + 1).float()
    lengths = torch.tensor([6, 4])
    ids, counts = collapse(path, torch.arange(6)[None] < lengths[:, None], blank=BLANK)
    assert [row[:n].tolist() for row, n in zip(ids, counts)] == [[1, 1, 3], [2]]
    right = torch.tensor([[1, 3, 0], [2, 3, 1]])
    assert label_errors(logits, lengths, right, torch.tensor([2, 3])) == 1 + 2
