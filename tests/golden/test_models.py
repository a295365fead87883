"""Every layer, loss, gradient, BatchNorm update and hypothesis of the small reference models."""

from __future__ import annotations

import pytest
import torch

from aedo.features.normalize import RunningNormConfig
from aedo.model.transformer_decoder import TransformerDecoder
from aedo.verify.folder import GoldenFolder
from tests.golden.models import FOLDER, NAMES, loaded, verified

ENCODER = (
    "features",
    "front-end",
    "encoder",
    "ctc",
    "losses",
    "encoder, training",
    "ctc, training",
    "losses, training",
)


@pytest.mark.parametrize("name", NAMES)
def test_every_station_equals_the_reference(name: str) -> None:
    _, checks = verified(name)
    assert [str(check) for check in checks if not check.ok] == []


@pytest.mark.parametrize("name", NAMES)
def test_everything_the_reference_holds_was_compared(name: str) -> None:
    verification, checks = verified(name)
    assert verification.left_over() == []
    parts = {check.part for check in checks}
    expected = {*ENCODER, "gradients", "beams"}
    if name != "ctc-only":
        expected |= {"decoder", "decoder, training"}
    if name != "layernorm":
        expected |= {"BatchNorm updates"}
    assert expected - {"losses, training"} <= parts


@pytest.mark.parametrize("name", NAMES)
def test_all_three_searches_were_compared(name: str) -> None:
    _, checks = verified(name)
    modes = [check.station for check in checks if check.part == "beams"]
    limited = {"ctc-only": [], "large": ["max_seq_len_4"]}.get(name, ["max_seq_len_15"])
    assert modes == ["batch", "single", *limited]


def test_the_large_recipe_has_every_kind_of_part() -> None:
    """Normalised features, a decoder of the later form with an auxiliary head: their stations and gradients too."""
    experiment, model = loaded("large")
    assert experiment.features.normalize == RunningNormConfig()
    assert isinstance(model.decoder, TransformerDecoder)
    assert (len(model.decoder.layers), list(model.decoder.auxiliary)) == (3, ["2"])
    stations = {check.station for check in verified("large")[1]}
    assert {"feat_norm", "train/feat_norm", "dec_aux_logits_2", "ce_aux_2_smoothed_per_seq", "ctc_loss_3"} <= stations
    assert {"running_after/feature_batch_norm.running_mean", "running_after/feature_batch_norm.running_variance"} <= {
        *stations
    }


def test_an_utterance_alone_gives_what_it_gives_in_a_batch() -> None:
    _, model = loaded("base-bv24")
    inputs = GoldenFolder.open(FOLDER / "base-bv24").inputs
    batch = model.encode(model.features(inputs.audio, inputs.lengths))
    for row, length in enumerate(inputs.lengths.tolist()):
        features = model.features(inputs.audio[row : row + 1, :length], torch.tensor([length]))
        alone = model.encode(features).states[0]
        torch.testing.assert_close(batch.states[row, : alone.shape[0]], alone, rtol=1e-4, atol=1e-5)


def test_a_tensorflow_checkpoint_gives_the_outputs_of_its_own_graph() -> None:
    pytest.importorskip("tensorflow", reason="reading TensorFlow checkpoints needs tensorflow")
    verification, checks = verified("tf-import")
    assert [str(check) for check in checks if not check.ok] == []
    assert verification.left_over() == ["total_loss"]  # without its regularisation it is the CTC loss
    stations = {check.station for check in checks}
    assert {"L:encoder", "L:ctc", "L:output/s", "L:output/att", "L:output/output_prob", "loss_sum:ctc"} <= stations
