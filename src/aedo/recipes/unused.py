"""Fields that no part looks at, because of what other fields say: a tag that sets nothing else is refused."""

from __future__ import annotations

from aedo.experiment import Experiment
from aedo.search.chunked import USED
from aedo.search.config import FIELDS, OF_DECODER


def unused_fields(e: Experiment) -> dict[str, str]:
    """By dotted field: why it is of no use in this experiment."""
    found: dict[str, str] = {}
    if e.decoder is None:
        for field in ("loss.decoder_scale", "loss.label_smoothing", "loss.smooth_eos"):
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
    found |= _of_losses(e)
    if e.tokenizer.kind == "char":
        found["tokenizer.size"] = "the labels are characters"
    for field, kind in (("bin_size", "laplace"), ("buckets", "bucket")):
        if e.order.kind != kind:
            found[f"order.{field}"] = f"order.kind is {e.order.kind}"
    if e.augment.speed is not None and len(e.augment.speed.factors) == 1:
        found["augment.speed.every"] = "augment.speed.factors has one"
    masks = e.augment.specaugment
    if masks is not None and masks.frames_per_mask is None:
        found["augment.specaugment.count_from"] = "augment.specaugment.frames_per_mask is none"
    if masks is not None and masks.max_time_share is not None:
        found["augment.specaugment.max_time_width"] = "augment.specaugment.max_time_share is set"
    if e.order.short_first_epochs == 0:
        found["order.short_first_seconds"] = "order.short_first_epochs is 0"
    return found | _of_encoder(e) | _of_optimizer(e) | _of_update(e) | _of_search(e)


def _of_encoder(e: Experiment) -> dict[str, str]:
    found: dict[str, str] = {}
    encoder, attention = e.encoder, e.encoder.attention
    if encoder.dropout.rate == 0:
        for field in ("dropout.share", "dropout_behind_attention"):  # of the latter, an E-Branchformer has none
            found[f"encoder.{field}"] = "encoder.dropout.rate is 0"
    if attention.dropout == 0:
        found["encoder.attention.dropout_share"] = "encoder.attention.dropout is 0"
    if not encoder.growth:
        found["encoder.growth_unit"] = "encoder.growth has no stages"
    if attention.window is not None and encoder.chunk is not None and (attention.window - 1) // 2 >= encoder.chunk - 1:
        found["encoder.attention.window"] = "encoder.chunk lies within it"
    if e.frontend.kind == "blstm" and not e.frontend.channels:
        found["frontend.band_pool"] = "frontend.channels has no convolutions"
    return found


def _of_losses(e: Experiment) -> dict[str, str]:
    found: dict[str, str] = {}
    if not e.ctc.layers:
        found = dict.fromkeys((f"ctc.{field}" for field in type(e.ctc).model_fields), "there is no CTC head")
        del found["ctc.layers"]
    elif e.ctc.label_smoothing == 0:
        found["ctc.smooth_blank"] = "ctc.label_smoothing is 0"
    if len(e.ctc.layers) == 1:
        found["ctc.shared"] = "there is one CTC head"
    if e.loss.label_smoothing == 0:
        found["loss.smooth_eos"] = "loss.label_smoothing is 0"
    if e.loss.normalization == "accumulated" and e.train.accumulate == 1 and e.train.devices == 1:
        found["loss.normalization"] = "an update has one micro-step (train.accumulate is 1)"
    return found


def _of_optimizer(e: Experiment) -> dict[str, str]:
    found: dict[str, str] = {}
    optimizer, decay, path = e.train.optimizer, e.train.optimizer.weight_decay, "train.optimizer.weight_decay"
    if optimizer.kind != "scaled_adam":
        found["train.optimizer.median_clip"] = f"train.optimizer.kind is {optimizer.kind}"
    if all(amount == 0 for amount in decay.amounts):
        for field in ("exclude", "matrices_only", "readout"):
            found[f"{path}.{field}"] = f"{path}.value is 0"
    if decay.encoder is not None and (decay.decoder is not None or e.decoder is None):
        found[f"{path}.value"] = "encoder and decoder have values of their own"
    if e.decoder is None:
        found[f"{path}.decoder"] = "there is no decoder"
    if e.decoder is None or e.decoder.kind != "lstm":
        found[f"{path}.readout"] = "only the LSTM decoder has a read-out"
    if decay.matrices_only:
        found[f"{path}.exclude"] = "only matrices decay (wdf)"
    return found


def _of_update(e: Experiment) -> dict[str, str]:
    found: dict[str, str] = {}
    if e.train.accumulate == 1:
        found["train.gradients.divide"] = "train.accumulate is 1"
    if e.loss.normalization == "accumulated":
        found["train.gradients.divide"] = "loss.normalization divides by the labels of all micro-steps already"
    if e.train.weight_noise.std == 0:
        found["train.weight_noise.names"] = "train.weight_noise.std is 0"
    if e.train.weight_dropout.rate == 0:
        found["train.weight_dropout.names"] = "train.weight_dropout.rate is 0"
    finetune, rate = e.train.finetune, e.train.learning_rate
    if finetune is not None:
        used = {"peak", "value", "values", "start", "legs"} if finetune.start == "peak" else set()
        for field in set(type(rate).model_fields) - used:
            found[f"train.learning_rate.{field}"] = "train.finetune has a learning rate of its own"
        if not finetune.turn_epochs:
            found["train.finetune.turn"] = "train.finetune has one way down only"
    return found


def _of_search(e: Experiment) -> dict[str, str]:
    kind = e.search.kind_for(decoder=e.decoder is not None, ctc=bool(e.ctc.layers))
    used = {"kind", "max_samples", "max_utterances", *FIELDS[kind]}
    idle = {} if e.search.lm is not None else dict.fromkeys(("search.lm_scale", "search.lm_use"), "search.lm is none")
    idle |= {} if e.search.hotwords else {"search.hotword_bias": "search.hotwords is empty"}
    if e.streaming is not None and kind in OF_DECODER:
        idle |= {f"search.{field}": "streaming models are searched without" for field in set(FIELDS[kind]) - set(USED)}
    why = f"the search is {kind} (aedonly, joint, jointtime and ctcprefix choose another)"
    return idle | {
        f"search.{field}": why if e.decoder is not None else "there is no decoder"
        for field in type(e.search).model_fields
        if field not in used
    }
