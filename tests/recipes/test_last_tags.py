"""Tags that turn what others have set into schedules."""

from __future__ import annotations

import pytest

from aedo.errors import UserError
from aedo.recipes.names import analyse, resolve
from aedo.schedule import START, Steps, value_at


def at(micro_step: int) -> float:
    """Of the encoder's dropout when 24gb-v6-drop02 is ramped."""
    return value_at(resolve("24gb-v6-regramp100-drop02").encoder.dropout.rate, START._replace(micro_step=micro_step))


def test_a_ramp_leads_to_the_values_that_other_tags_set_wherever_they_stand() -> None:
    assert (at(0), at(49), at(99), at(10**6)) == pytest.approx((0.002, 0.1, 0.2, 0.2))
    assert resolve("24gb-v6-drop02-regramp100") == resolve("24gb-v6-regramp100-drop02")
    assert analyse("24gb-v6-drop02-regramp100").setter("encoder.dropout.rate") == "regramp100"


def test_a_ramp_leaves_zeros_and_schedules_alone() -> None:
    e = resolve("24gb-v6-pre10-drop0-regramp100")
    assert e.encoder.dropout.rate == 0
    assert isinstance(e.encoder.attention.dropout, Steps)
    assert e.train.weight_dropout.rate == 0
    assert value_at(e.loss.label_smoothing, START._replace(micro_step=49)) == pytest.approx(0.05)


def test_a_ramp_knows_the_decoder_there_is() -> None:
    decoder = resolve("24gb-v6-trafodec6-embshare-regramp100").decoder
    assert decoder is not None
    assert decoder.kind == "transformer"
    for rate in (decoder.dropout.rate, decoder.input_dropout, decoder.attention_dropout):
        assert value_at(rate, START._replace(micro_step=49)) == pytest.approx(0.05)
    assert resolve("24gb-v6-ctconly-nospecaug-regramp100").decoder is None


@pytest.mark.parametrize(
    ("name", "depths", "widths"),
    [
        ("24gb-v6-n16-pre10", (3, 5, 11), (0.5, 0.5 + 1 / 13, 0.5 + 4 / 13, 1.0)),
        ("an4-pre10", (1, 2, 4), (0.5, 0.6, 0.8, 1.0)),
        ("24gb-v6-n2-aux2-pre10", (1, 1, 1), (0.5, 0.5, 0.5, 1.0)),
    ],
)
def test_an_encoder_of_any_size_grows_by_the_same_shares(
    name: str, depths: tuple[int, ...], widths: tuple[float, ...]
) -> None:
    encoder = resolve(name).encoder
    assert tuple(layers for _, layers in encoder.growth) == depths
    assert isinstance(encoder.width, Steps)
    assert encoder.width.values == pytest.approx(widths)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("24gb-v6-pre10-pretrain", "the encoder grows already; leave pretrain out"),
        ("24gb-v5-pre10", "take it back with nopretrain"),
        ("24gb-v6-n1-aux1-pre10", "an encoder of one layer cannot grow"),
        ("24gb-v6-downsched24_4", "the front-end has 6 feature frames per encoder frame, not 4; end with 6"),
        ("24gb-v6-downsched20_6", "20 is not 2, 3, 4, ... times 6"),
        ("24gb-v6-downsched6_6", "6 is not 2, 3, 4, ... times 6"),
        ("24gb-v6-chunk50-win200", "nothing uses encoder.attention.window, encoder.chunk lies within it"),
        ("24gb-v6-drop0-nofix245", "nothing uses encoder.dropout_behind_attention"),
        ("24gb-v6-fix245", "fix245 changes nothing"),
        ("24gb-v6-ctconly-embinit1", "embinit1 does not fit here|both set decoder"),
        ("24gb-v6-blstmf2-cnnblstmf2", "both set frontend"),
        ("24gb-v6-blstmf2-convch8_8_8", "both set frontend|does not fit here"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve(name)


def test_down_and_falling_downsampling_go_together() -> None:
    pooling = resolve("24gb-v6-down4-downsched16_4").encoder.pooling
    assert isinstance(pooling, Steps)
    assert (pooling.nodes, pooling.values) == ((0.1, 0.2), (4, 2, 1))
