"""Fields that no part looks at, because of what other fields say: a tag that sets nothing else is refused."""

from __future__ import annotations

from aedo.experiment import Experiment


def unused_fields(e: Experiment) -> dict[str, str]:
    """By dotted field: why it is of no use in this experiment."""
    found: dict[str, str] = {}
    if e.decoder is None:
        for field in ("loss.decoder_scale", "loss.label_smoothing", "search.beam", "search.length_normalization"):
            found[field] = "there is no decoder"
    elif e.decoder.kind == "lstm":
        if e.decoder.readout_dropout.rate == 0:
            found["decoder.readout_dropout.share"] = "decoder.readout_dropout.rate is 0"
        if e.decoder.zone_cell == e.decoder.zone_hidden == 0:
            found["decoder.zone_share"] = "there is no zoneout"
    else:
        if e.decoder.dropout.rate == 0:
            found["decoder.dropout.share"] = "decoder.dropout.rate is 0"
        if e.decoder.attention_dropout == 0:
            found["decoder.attention_dropout_share"] = "decoder.attention_dropout is 0"
    if not e.ctc.layers:
        found |= dict.fromkeys(("ctc.scales", "ctc.eos"), "there is no CTC head")
    if e.tokenizer.kind == "char":
        found["tokenizer.size"] = "the labels are characters"
    if e.order.kind != "laplace":
        found["order.bin_size"] = f"order.kind is {e.order.kind}"
    if e.order.short_first_epochs == 0:
        found["order.short_first_seconds"] = "order.short_first_epochs is 0"
    if e.encoder.dropout.rate == 0:
        found["encoder.dropout.share"] = "encoder.dropout.rate is 0"
    if e.encoder.attention.dropout == 0:
        found["encoder.attention.dropout_share"] = "encoder.attention.dropout is 0"
    if e.train.optimizer.weight_decay.value == 0:
        found["train.optimizer.weight_decay.exclude"] = "train.optimizer.weight_decay.value is 0"
    return found
