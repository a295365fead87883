"""The chunked model of the original: every frame of every chunk, decoder, losses, gradients, and its search."""

from __future__ import annotations

from aedo.verify.verification import Verification
from tests.golden.models import FOLDER

PLACE = FOLDER / "chunked-aed"


def test_every_station_equals_the_reference() -> None:
    verification = Verification.of(PLACE)
    checks = list(verification.checks())
    assert [str(check) for check in checks if not check.ok] == []
    assert verification.left_over() == []
    stations = {check.station for check in checks}
    assert {"enc_layer_3", "chunk_idx", "ctc_loss_2", "train/dec_logits", "bv19/enc", "layer_1/conv_block"} <= stations
    assert {"batch", "single", "batch_beam4", "batch_length_norm_1", "bv19/single"} <= stations
    assert sum(station.startswith("grad/") for station in stations) == 108
