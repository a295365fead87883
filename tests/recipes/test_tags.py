"""Every tag: what it sets; and that tags combine in any order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aedo.experiment import Experiment
from aedo.recipes.catalogue import STAGES
from aedo.recipes.names import analyse, resolve
from aedo.recipes.parse import find_tag
from aedo.recipes.registry import TAGS, application_order
from aedo.recipes.trees import leaves

SHARES = ("encoder.dropout.share", "decoder.readout_dropout.share", "decoder.zone_share")
RATE = "train.learning_rate"
MASKS = "augment.specaugment"

SPELLED: dict[str, tuple[str, dict[str, Any]]] = {
    "spm10k": ("24gb-v6", {"tokenizer.kind": "unigram", "tokenizer.size": 10_240}),
    "bpe1k": ("24gb-v6", {"tokenizer.kind": "bpe", "tokenizer.size": 1024}),
    "char": ("24gb-v6", {"tokenizer.kind": "char"}),
    "bs30k": ("24gb-v6", {"batch.max_samples": 4_800_000}),
    "maxseqs50": ("24gb-v6", {"batch.max_utterances": 50}),
    "maxlabels200": ("24gb-v6", {"batch.max_labels": 200}),
    "nomaxlabels": ("24gb-v6", {"batch.max_labels": None}),
    "laplace500": ("24gb-v6", {"order.kind": "laplace", "order.bin_size": 500}),
    "sortbatch": ("24gb-v6", {"order.kind": "sorted"}),
    "randbatch": ("24gb-v6", {"order.kind": "random"}),
    "part1": ("24gb-v6", {"order.partition": 1}),
    "crl2": ("24gb-v6", {"order.short_first_epochs": 2}),
    "eval50": ("24gb-v6", {"train.eval_utterances": 50}),
    "nocrl": ("24gb-v6", {"order.short_first_epochs": 0}),
    "ep500": ("24gb-v6", {"train.epochs": 500}),
    "seed7": ("24gb-v6", {"train.seed": 7}),
    "nopeaknorm": ("24gb-v6", {"audio.peak_normalize": False}),
    "mel40": ("24gb-v6", {"features.dim": 40}),
    "logbase10": ("24gb-v6", {"features.log_base": 10.0}),
    "down4": ("24gb-v6", {"frontend.time_strides": (1, 2, 2)}),
    "convch8_16_32": ("24gb-v6", {"frontend.channels": (8, 16, 32)}),
    "batchpad": ("24gb-v6", {"frontend.padding": "batch", "encoder.convolution.padding": "batch"}),
    "speedpertv2": ("24gb-v6", {"augment.speed.factors": (0.7, 0.8, 0.9, 1.0, 1.1)}),
    "speedpertv3": ("24gb-v6", {"augment.speed.factors": (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1)}),
    "nospeedpert": ("24gb-v6", {"augment.speed": None}),
    "specaugorig": ("24gb-v3", {f"{MASKS}.frames_per_mask": 100, f"{MASKS}.max_band_width": 16}),
    "specaugv2": ("24gb-v6", {f"{MASKS}.frames_per_mask": 200, f"{MASKS}.max_band_width": 10}),
    "specaugsteps0_1000_2000": ("24gb-v6", {f"{MASKS}.steps": (0, 1000, 2000)}),
    "specauglen": ("24gb-v6", {f"{MASKS}.count_from": "utterance"}),
    "nospecaug": ("24gb-v6", {MASKS: None}),
    "d384": ("24gb-v6", {"encoder.dim": 384, "encoder.feed_forward.dim": 1536}),
    "d384ff1024": ("24gb-v6", {"encoder.dim": 384, "encoder.feed_forward.dim": 1024}),
    "ff1024": ("24gb-v6", {"encoder.feed_forward.dim": 1024}),
    "h4": ("24gb-v6", {"encoder.attention.heads": 4}),
    "n16": ("24gb-v6", {"encoder.layers": 16}),
    "pretrain": ("24gb-v6", {"encoder.growth": ((4_000, 2), (2_000, 4), (2_000, 8))}),
    "nopretrain": ("24gb-v5", {"encoder.growth": ()}),
    "ks8": ("24gb-v6", {"encoder.convolution.kernel": 8}),
    "swish": ("24gb-v6", {"encoder.feed_forward.activation": "swish"}),
    "relu2": ("24gb-v6-swish", {"encoder.feed_forward.activation": "relu2"}),
    "ln": ("24gb-v6", {"encoder.convolution.norm.kind": "layer", "encoder.convolution.norm.eps": 1e-6}),
    "bnnomask": ("24gb-v6", {"encoder.convolution.norm.masked": False}),
    "relposxl": ("24gb-v6", {"encoder.attention.position.kind": "transformer_xl"}),
    "relposclip32": ("24gb-v6", {"encoder.attention.position.clip": 32}),
    "zoneoutput": ("24gb-v6", {"decoder.zoned_output": True}),
    "decdim512": (
        "24gb-v6",
        {"decoder.lstm_dim": 512, "decoder.attention_dim": 512, "decoder.readout_dim": 512},
    ),
    "trafodec6": (
        "24gb-v6",
        {
            "decoder.kind": "transformer",
            "decoder.layers": 6,
            "decoder.dim": 512,
            "decoder.heads": 8,
            "decoder.feed_forward.dim": 2048,
            "decoder.feed_forward.activation": "relu",
            "decoder.dropout.rate": 0.1,
            "decoder.attention_dropout": 0.1,
            "decoder.shared_embedding": False,
        },
    ),
    "trafodec2d128": ("24gb-v6", {"decoder.layers": 2, "decoder.dim": 128, "decoder.feed_forward.dim": 512}),
    "decdrop02": ("24gb-v6-trafodec6", {"decoder.dropout.rate": 0.2}),
    "embshare": (
        "24gb-v6-trafodec6",
        {"decoder.shared_embedding": True, "decoder.embedding_scale": 512**0.5, "decoder.input_dropout": 0.1},
    ),
    "auxdec3": ("24gb-v6-trafodec6", {"decoder.auxiliary": (3,)}),
    "decllama": (
        "24gb-v6-trafodec6",
        {
            "decoder.norm": "rms",
            "decoder.rotary": True,
            "decoder.self_attention_bias": False,
            "decoder.feed_forward.activation": "swiglu",
            "decoder.feed_forward.bias": False,
            "decoder.feed_forward.dim": 1536,
        },
    ),
    "embdim256": ("24gb-v6", {"decoder.embedding_dim": 256}),
    "aux4812": ("24gb-v6", {"ctc.layers": (4, 8, 12)}),
    "aux4_12ff": ("24gb-v6", {"ctc.layers": (4, 12)}),
    "auxscale01_02": ("24gb-v6", {"ctc.scales": (0.1, 0.2)}),
    "auxscale03": ("24gb-v6", {"ctc.scales": 0.3}),
    "aedscale07": ("24gb-v6", {"loss.decoder_scale": 0.7}),
    "ctceos": ("24gb-v6", {"ctc.eos": True}),
    "ctconly": ("24gb-v6", {"decoder": None, "ctc.layers": (4, 8, 12)}),
    "lossnorm_sum": ("24gb-v6", {"loss.normalization": "sum"}),
    "lossnorm_frames": ("24gb-v6-lossnorm_sum", {"loss.normalization": "labels"}),
    "posdrop02": ("24gb-v6", {"encoder.attention.position.dropout": 0.2}),
    "attdrop02": ("24gb-v6", {"encoder.attention.dropout": 0.2}),
    "attdropfixbc": ("24gb-v4", {"encoder.attention.dropout_share": "none"}),
    "attdropbc": ("24gb-v6", {"encoder.attention.dropout_share": "all_but_keys"}),
    "drop015": ("24gb-v6", {"encoder.dropout.rate": 0.15}),
    "readoutdrop01": ("24gb-v6", {"decoder.readout_dropout.rate": 0.1}),
    "zonecell01": ("24gb-v6", {"decoder.zone_cell": 0.1}),
    "zonehid01": ("24gb-v6", {"decoder.zone_hidden": 0.1}),
    "nodropbc": ("24gb-v6", dict.fromkeys(SHARES, "none")),
    "dropbc_time": ("24gb-v6", dict.fromkeys(SHARES, "time")),
    "ls0": ("24gb-v6", {"loss.label_smoothing": 0.0}),
    "lr09e_3": ("24gb-v6", {f"{RATE}.peak": 0.9e-3}),
    "warmup100k": ("24gb-v6", {f"{RATE}.warmup": 100_000}),
    "lrdecnorm40k": ("24gb-v6", {f"{RATE}.norm": 40_000}),
    "noam": ("24gb-v6-warmup100k", {f"{RATE}.norm": 100_000}),
    "lrcos": ("24gb-v6", {f"{RATE}.kind": "waving_inverse_sqrt", f"{RATE}.period": 10_000, f"{RATE}.peak": 1e-3}),
    "lrcosann10": (
        "24gb-v6",
        {f"{RATE}.kind": "warmup_cosine", f"{RATE}.warmup": 10.0, f"{RATE}.decay": 1990.0, f"{RATE}.peak": 1e-3},
    ),
    "lrlin": (
        "24gb-v6",
        {f"{RATE}.nodes": (20_000, 900_000, 982_000), f"{RATE}.values": (0, 1e-3, 1e-5, 1e-6)},
    ),
    "lrlin1e_5": ("24gb-v6", {f"{RATE}.nodes": (450_000, 900_000, 982_000)}),
    "lrlin2e_5_100k": (
        "24gb-v6",
        {f"{RATE}.nodes": (100_000, 900_000, 982_000), f"{RATE}.values": (2e-5, 2e-3, 2e-5, 2e-6)},
    ),
    "lrlin1e_5_1k_2k_3k": ("24gb-v6", {f"{RATE}.nodes": (1000, 2000, 3000), f"{RATE}.unit": "micro_step"}),
    "lrlinfrac1e_5": (
        "24gb-v6",
        {f"{RATE}.unit": "fraction", f"{RATE}.nodes": (0.45, 0.9, 1.0), f"{RATE}.values": (1e-5, 1e-3, 1e-5, 1e-6)},
    ),
    "lrlinfrac1e_5_02": ("24gb-v6", {f"{RATE}.nodes": (0.2, 0.9, 1.0)}),
    "oclr": (
        "24gb-v6",
        {f"{RATE}.nodes": (1_235_250, 2_470_500, 2_747_250), f"{RATE}.values": (9e-5, 9e-4, 9e-5, 1e-6)},
    ),
    "f32": ("24gb-v6", {"train.precision": "float32"}),
    "amp_bf16": ("11gb", {"train.precision": "bfloat16"}),
    "accgrad4": ("24gb-v6", {"train.accumulate": 4.0}),
    "dynaccgrad_v2": ("24gb-v6", {"train.accumulate.values": (1, 100, 1, 1, 10)}),
    "dynaccgrad_v3": ("24gb-v6", {"train.accumulate.nodes": (20_000, 100_000, 200_000)}),
    "dynaccgrad_v3a": ("24gb-v6", {"train.accumulate.values": (4, 4, 2, 1)}),
    "dynaccgrad_v4": ("24gb-v6", {"train.accumulate.values": (4, 1, 4, 12)}),
    "gradclip1": ("24gb-v6", {"train.gradients.clip_norm": 1.0}),
    "nogradclip": ("24gb-v6", {"train.gradients.clip_norm": None}),
    "eps1e_8": ("24gb-v6", {"train.optimizer.eps": 1e-8}),
    "betas09_098": ("24gb-v6", {"train.optimizer.betas": (0.9, 0.98)}),
    "wd1e_3": ("24gb-v6", {"train.optimizer.weight_decay.value": 1e-3}),
    "wdblacklist": (
        "24gb-v3",
        {"train.optimizer.weight_decay.exclude": ("batch_norm", "layer_norm", "embedding", "relative_position")},
    ),
    "wdblacklist2": ("24gb-v3", {"train.optimizer.weight_decay.exclude": ("embedding", "relative_position")}),
    "avglast20pct": ("24gb-v6", {"train.average_fraction": 0.2}),
    "beam4": ("24gb-v6", {"search.beam": 4}),
    "lennorm05": ("24gb-v6", {"search.length_normalization": 0.5}),
}
"""By spelling: a base on which the tag changes something, and what it sets there."""


def with_tag(base: str, text: str) -> Experiment:
    """`text` on a base, which may be a name with a tag whose effect `text` takes back."""
    if base not in ("24gb-v6-swish", "24gb-v6-lossnorm_sum"):
        return resolve(f"{base}-{text}")
    tag = find_tag(text)
    assert tag is not None
    return tag.apply(resolve(base))


@pytest.mark.parametrize("text", SPELLED)
def test_a_tag_sets_what_it_says(text: str) -> None:
    base, expected = SPELLED[text]
    values = leaves(with_tag(base, text))
    assert {path: values[path] for path in expected} == expected


def test_every_tag_is_in_the_table_above() -> None:
    assert {find_tag(text) for text in SPELLED} == set(TAGS.values())  # type: ignore[comparison-overlap]


@pytest.mark.parametrize("text", SPELLED)
def test_a_spelling_belongs_to_one_tag(text: str) -> None:
    owners = [name for name, tag in TAGS.items() if any(pattern.match(text) is not None for pattern in tag.patterns)]
    assert len(owners) == 1


@pytest.mark.parametrize("tag", TAGS.values(), ids=TAGS)
def test_every_tag_is_explained(tag: Any) -> None:
    assert len(tag.summary) > 15
    assert tag.summary[0].isupper()
    assert tag.stage in STAGES
    assert all(set(pattern.types) for pattern in tag.patterns if "{" in pattern.spelling)
    numeric = [name for pattern in tag.patterns for name in pattern.types]
    assert all(any(name in pattern.ranges for pattern in tag.patterns) for name in numeric), "a value without a range"


def test_tags_come_behind_those_they_read() -> None:
    order = application_order()
    assert sorted(order) == sorted(TAGS)
    for name, tag in TAGS.items():
        assert all(order.index(earlier) < order.index(name) for earlier in tag.after)


PLAIN = [
    text
    for text, (base, _) in SPELLED.items()
    for tag in [find_tag(text)]
    if base == "24gb-v6" and tag and not tag.after and text != "auxscale01_02"  # which wants two heads
]
ALONE = {text: analyse(f"24gb-v6-{text}") for text in PLAIN}


@st.composite
def independent_tags(draw: st.DrawFn) -> list[str]:
    """Tags no two of which set the same field, in random order."""
    chosen: list[str] = []
    taken: set[str] = set()
    for text in draw(st.lists(st.sampled_from(PLAIN), unique=True, max_size=12)):
        if not taken & set(ALONE[text].setters):
            chosen.append(text)
            taken |= set(ALONE[text].setters)
    return chosen


@settings(deadline=None, max_examples=60)
@given(independent_tags(), st.randoms(use_true_random=False))
def test_independent_tags_combine_to_the_sum_of_their_effects(tags: list[str], random: Any) -> None:
    resolved = analyse("-".join(["24gb-v6", *tags]))
    expected = leaves(resolve("24gb-v6"))
    for text in tags:
        alone = leaves(ALONE[text].experiment)
        for path in ALONE[text].setters:
            expected.pop(path, None)
            if path in alone:
                expected[path] = alone[path]
    assert leaves(resolved.experiment) == expected
    assert resolved.setters == {path: text for text in tags for path in ALONE[text].setters}
    shuffled = random.sample(tags, len(tags))
    assert resolve("_".join(["base_24gb_v6", *shuffled])) == resolved.experiment
    assert Experiment.model_validate_json(resolved.experiment.model_dump_json()) == resolved.experiment
