"""Names with tags of weight decay and of optimizers: what goes together, and what is refused with which words."""

from __future__ import annotations

import pytest

from aedo.errors import UserError
from aedo.recipes.names import resolve
from aedo.recipes.unused import unused_fields
from aedo.schedule import PiecewiseLinear


def test_encoder_decoder_and_the_rest_go_together() -> None:
    decay = resolve("24gb-v6-wd1e_3-wddec01-wdf").train.optimizer.weight_decay
    assert (decay.value, decay.encoder, decay.decoder, decay.matrices_only) == (1e-3, None, 0.1, True)


@pytest.mark.parametrize("name", ["tiny-adam-wd1e_4", "tiny-nadamtf-eps1e_7", "tiny-scaledadam-medianclip2-lr3e_2"])
def test_optimizers_go_with_their_settings(name: str) -> None:
    resolve(name)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ("wdro", "wdro changes nothing"),
        ("adamw", "adamw changes nothing"),
        ("adam-nadam", "both set train.optimizer.kind"),
        ("wdf-wdblacklist", "only matrices decay"),
        ("wdenc1e_2-wddec1e_4-wd1e_3", "encoder and decoder have values of their own"),
        ("wdenc1e_2-ctconly-wd1e_3", "encoder and decoder have values of their own"),
        ("ctconly-wddec1e_4", "there is no decoder"),
        ("wd0-wdf", "weight_decay.value is 0"),
        ("scaledadam-wd1e_3", "both set train.optimizer.weight_decay.value"),
        ("scaledadam-wdenc1e_2", "scaled_adam knows no weight decay"),
        ("scaledadam-wdf", "weight_decay.value is 0"),
        ("medianclip2", "train.optimizer.kind is adamw"),
        ("wdenc2", "lies outside 0 to 1"),
    ],
)
def test_what_would_have_no_effect_is_refused(tags: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve(f"24gb-v6-{tags}")


def test_the_readout_is_of_use_only_where_there_is_one() -> None:
    field = "train.optimizer.weight_decay.readout"
    assert field not in unused_fields(resolve("24gb-v6"))
    assert unused_fields(resolve("24gb-v6-trafodec6"))[field] == "only the LSTM decoder has a read-out"
    assert field in unused_fields(resolve("24gb-v6-ctconly"))


def test_a_scheduled_value_is_part_of_the_tree() -> None:
    ramp = PiecewiseLinear(nodes=(20_000,), values=(0.0, 1e-2))
    e = resolve("tiny").with_("train.optimizer.weight_decay.value", ramp)
    assert type(e).model_validate_json(e.model_dump_json()) == e
