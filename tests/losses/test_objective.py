"""The total of all losses: normalisation, scales and smoothing over time, tied heads, errors of a CTC model."""

from __future__ import annotations

import contextlib

import pytest
import torch

from aedo.errors import UserError
from aedo.experiment import Experiment
from aedo.features.logmel import Features
from aedo.interop.returnn import export_state
from aedo.losses.cross_entropy import cross_entropy
from aedo.losses.ctc import ctc_loss
from aedo.losses.objective import Losses
from aedo.model.aed import AED, Outputs
from aedo.model.labels import Labels
from aedo.recipes.names import resolve
from aedo.schedule import START, PiecewiseLinear, Progress
from tests.train.micro import micro_experiment

VOCABULARY = 9
MICRO = micro_experiment().with_("ctc.scales", (0.5, 0.25)).with_("loss.decoder_scale", 0.7)
CTC = MICRO.with_("decoder", None)
LABELS = Labels(torch.tensor([[1, 2, 2, 3], [4, 5, 0, 0]]), torch.tensor([4, 2]))
FEATURES = Features(torch.randn(2, 90, 80, generator=torch.Generator().manual_seed(0)), torch.tensor([90, 70]))
RAMP = PiecewiseLinear(unit="fraction", nodes=(1.0,), values=(1.0, 0.0))


def model_of(experiment: Experiment) -> AED:
    torch.manual_seed(0)
    return experiment.build_model(VOCABULARY).eval()


def losses_of(experiment: Experiment, fraction: float = 0.0, labels: Labels = LABELS) -> tuple[Losses, Outputs]:
    outputs = model_of(experiment)(FEATURES, labels)
    return experiment.loss.build(experiment.ctc)(outputs, labels, Progress(0, 0, 0.0, fraction)), outputs


def sums(outputs: Outputs) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of the decoder's cross-entropy and of both CTC losses."""
    assert outputs.decoder is not None
    heads = (logits.log_softmax(-1) for logits in outputs.ctc_logits.values())
    lower, upper = (ctc_loss(x, outputs.encoded.lengths, LABELS.ids, LABELS.lengths).sum() for x in heads)
    return cross_entropy(outputs.decoder.logits, outputs.decoder.targets, 0.0).sum(), lower, upper


@pytest.mark.parametrize(
    ("normalization", "decoder", "ctc"),
    [("labels", 8, 6), ("sequences", 2, 2), ("sum", 1, 1)],  # 6 labels of 2 utterances, and 2 of EOS
)
def test_each_loss_is_divided_by_what_the_normalisation_says(normalization: str, decoder: int, ctc: int) -> None:
    losses, outputs = losses_of(MICRO.with_("loss.normalization", normalization))
    ce, lower, upper = sums(outputs)
    torch.testing.assert_close(losses.total, 0.7 * ce / decoder + 0.5 * lower / ctc + 0.25 * upper / ctc)
    assert losses.labels == 0, "nothing is left to divide by"
    means = {term.name: term.count for term in losses.terms}
    assert means == {"ce": 8, "ler": 8, "ctc_1": 6, "ctc_2": 6}, "what is logged is per label whatever is trained"


@pytest.mark.parametrize(("experiment", "labels"), [(MICRO, 8), (CTC, 6)])
def test_over_an_update_the_mean_of_each_micro_step_is_weighted_by_its_labels(
    experiment: Experiment, labels: int
) -> None:
    weighted, _ = losses_of(experiment.with_("loss.normalization", "accumulated"))
    plain, _ = losses_of(experiment)
    assert weighted.labels == labels
    torch.testing.assert_close(weighted.total, labels * plain.total)


def test_micro_steps_of_an_update_together_are_one_batch_of_all_labels() -> None:
    experiment = MICRO.with_("ctc.scales", 1.0).with_("ctc.layers", ()).with_("loss.normalization", "accumulated")
    whole, _ = losses_of(experiment)
    model, objective = model_of(experiment), experiment.loss.build(experiment.ctc)
    parts = []
    for row, frames in enumerate(FEATURES.lengths.tolist()):
        features = Features(FEATURES.values[row : row + 1, :frames], FEATURES.lengths[row : row + 1])
        count = int(LABELS.lengths[row])
        labels = Labels(LABELS.ids[row : row + 1, :count], LABELS.lengths[row : row + 1])
        parts.append(objective(model(features, labels), labels, START))
    assert sum(part.labels for part in parts) == whole.labels
    together = torch.stack([part.total for part in parts]).sum() / whole.labels
    torch.testing.assert_close(together, whole.total / whole.labels, rtol=1e-4, atol=1e-5)


def test_weights_of_the_losses_may_change_over_the_training() -> None:
    experiment = MICRO.with_("ctc.scales", (RAMP, 0.25)).with_("loss.decoder_scale", RAMP)
    for fraction in (0.0, 0.25, 1.0):
        losses, outputs = losses_of(experiment, fraction)
        ce, lower, upper = sums(outputs)
        weight = 1 - fraction
        torch.testing.assert_close(losses.total, weight * ce / 8 + weight * lower / 6 + 0.25 * upper / 6)


def test_smoothing_may_change_over_the_training_in_decoder_and_heads() -> None:
    falling = PiecewiseLinear(unit="fraction", nodes=(1.0,), values=(0.4, 0.0))

    def gradient(experiment: Experiment, fraction: float) -> torch.Tensor:
        losses, outputs = losses_of(experiment, fraction)
        assert outputs.decoder is not None
        wanted = [outputs.decoder.logits, outputs.ctc_logits[2]]
        return torch.cat([part.flatten() for part in torch.autograd.grad(losses.total, wanted)])

    def smoothed(amount: object) -> Experiment:
        return MICRO.with_("loss.label_smoothing", amount).with_("ctc.label_smoothing", amount)

    for fraction, amount in ((0.0, 0.4), (0.75, 0.1), (1.0, 0.0)):
        torch.testing.assert_close(gradient(smoothed(falling), fraction), gradient(smoothed(amount), 0.0))
    assert not torch.equal(gradient(smoothed(0.1), 0.0), gradient(smoothed(0.0), 0.0))
    # Values are never smoothed; without smoothing they are computed in another way.
    torch.testing.assert_close(losses_of(smoothed(falling))[0].total, losses_of(smoothed(0.0))[0].total)


def test_what_is_left_out_of_the_smoothing_follows_the_tags() -> None:
    for name, eos, blank in (("lsx02", False, False), ("lsxx02", True, False), ("ls02-ctcls02", True, True)):
        e = resolve(f"24gb-v6-{name}")
        assert (e.loss.label_smoothing, e.ctc.label_smoothing) == (0.2, 0.2)
        assert (e.loss.smooth_eos, e.ctc.smooth_blank) == (eos, blank)
    base = resolve("24gb-v6")
    assert (base.ctc.label_smoothing, base.loss.smooth_eos) == (0, True)


def test_eos_left_out_changes_gradients_of_the_decoder_only() -> None:
    found = []
    for eos in (True, False):
        losses, outputs = losses_of(MICRO.with_("loss.smooth_eos", eos))
        assert outputs.decoder is not None
        found.append(torch.autograd.grad(losses.total, [outputs.decoder.logits, outputs.ctc_logits[1]]))
    assert not torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    probabilities = losses_of(MICRO)[1].decoder.logits.softmax(-1)  # type: ignore[union-attr]
    targets = losses_of(MICRO)[1].decoder.targets  # type: ignore[union-attr]
    pull = probabilities - found[1][0] * 8 / 0.7  # the target distributions
    torch.testing.assert_close(pull[:, 0], (targets == 0).float(), atol=1e-5, rtol=0)


def test_a_ctc_model_tells_its_label_error_rate_in_evaluation_and_not_in_training() -> None:
    labels = Labels(LABELS.ids, LABELS.lengths)
    trained, outputs = losses_of(CTC)
    assert [term.name for term in trained.terms] == ["ctc_1", "ctc_2"]
    with torch.no_grad():
        evaluated, _ = losses_of(CTC)
    assert [term.name for term in evaluated.terms] == ["ctc_1", "ctc_2", "ler"]
    assert evaluated.terms[2].count == 6
    paths = outputs.ctc_logits[2].argmax(-1)
    found = []
    for path, frames in zip(paths.tolist(), outputs.encoded.lengths.tolist()):
        merged = [a for a, b in zip(path[:frames], [None, *path]) if a != b]
        found.append([label for label in merged if label not in (0, VOCABULARY)])
    rows = zip(found, labels.ids.tolist(), labels.lengths.tolist())
    errors = sum(levenshtein(ours, right[:count]) for ours, right, count in rows)
    assert evaluated.terms[2].sum.item() == errors
    with torch.no_grad():
        assert [term.name for term in losses_of(MICRO)[0].terms] == ["ce", "ler", "ctc_1", "ctc_2"]


def levenshtein(one: list[int], other: list[int]) -> int:
    row = list(range(len(other) + 1))
    for a in one:
        new = [row[0] + 1]
        for j, b in enumerate(other):
            new.append(min(new[j] + 1, row[j + 1] + 1, row[j] + (a != b)))
        row = new
    return row[-1]


def test_the_losses_wait_for_nothing_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the meta device, which has shapes but no values; it has no CTC and no autocast."""
    monkeypatch.setattr(torch, "autocast", lambda *args, **settings: contextlib.nullcontext())
    monkeypatch.setattr(torch.nn.functional, "ctc_loss", lambda log_probs, *args, **settings: log_probs.sum((0, 2)))
    experiment = MICRO.with_("ctc.label_smoothing", 0.1).with_("ctc.smooth_blank", False)
    experiment = experiment.with_("loss.smooth_eos", False).with_("loss.normalization", "accumulated")
    model, labels = experiment.build_model(VOCABULARY).to("meta"), Labels(LABELS.ids.to("meta"), LABELS.lengths)
    outputs = model(Features(FEATURES.values.to("meta"), FEATURES.lengths), labels)
    losses = experiment.loss.build(experiment.ctc)(outputs, labels, START)
    losses.total.backward()  # type: ignore[no-untyped-call]
    assert losses.total.is_meta
    assert all(term.sum.is_meta for term in losses.terms)


def test_a_tied_head_learns_from_all_its_layers_and_has_its_own_name() -> None:
    own, tied = model_of(MICRO), model_of(MICRO.with_("ctc.shared", True))
    heads = [name for name in own.state_dict() if name.startswith("ctc_heads")]
    assert heads == [f"ctc_heads.{layer}.{kind}" for layer in (1, 2) for kind in ("weight", "bias")]
    assert [name for name in tied.state_dict() if name.startswith("ctc_heads")] == [
        "ctc_heads.shared.weight",
        "ctc_heads.shared.bias",
    ]
    outputs = tied(FEATURES, LABELS)
    head = tied.ctc_heads.of(1)
    for layer in (1, 2):
        assert torch.equal(outputs.ctc_logits[layer], head(outputs.encoded.layers[layer]))
        (gradient,) = torch.autograd.grad(outputs.ctc_logits[layer].sum(), head.weight, retain_graph=True)  # type: ignore[arg-type]
        assert gradient.abs().sum() > 0
    assert torch.equal(tied.ctc_log_probs(outputs.encoded), outputs.ctc_logits[2].log_softmax(-1))
    with pytest.raises(UserError, match=r"ctc\.shared"):
        export_state(tied)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("24gb-v6-aux12-auxtied", "nothing uses ctc.shared, there is one CTC head"),
        (
            "24gb-v6-accdiv-lossnorm_acc",
            "nothing uses train.gradients.divide, loss.normalization divides by",
        ),
        ("tiny-lossnorm_acc", "nothing uses loss.normalization, an update has one micro-step"),
        ("24gb-v6-lsx0", "lsx0: amount 0 lies outside"),
        ("24gb-v6-auxscale01_02_03", "ctc.scales has 3 values for 2 ctc.layers"),
    ],
)
def test_what_would_do_nothing_is_refused(name: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        resolve(name)
    assert said in str(error.value)
