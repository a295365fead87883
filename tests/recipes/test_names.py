"""Names: what they resolve to, how their tags combine, and every refusal with its message."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aedo.errors import UserError
from aedo.experiment import Experiment
from aedo.recipes.catalogue import explain
from aedo.recipes.names import analyse, diff, resolve
from aedo.recipes.trees import leaves

SEED_NAMES = [
    "base-24gb-v6",
    "base-24gb-v6-lrlin1e_5_450k",
    "base-24gb-v6-lrlin1e_5_450k-posdrop01",
    "base-24gb-v6-lrlin1e_5_600k",
    "base-24gb-v4-lrcos",
    "base-24gb-v4-lrlin",
    "base-24gb-v4-posdrop01",
    "base-24gb-v4-attdropfixbc",
    "base-24gb-v4-wdblacklist2",
    "base-24gb-v4-bs30k-accgrad3",
    "base-24gb-v4-bs30k-accgrad3-nodropbc",
    "base-24gb-v3-lr1e_3",
    "base-24gb-v3-lr1e_3-wd1e_3",
    "base-24gb-v3-lr1e_3-specaugorig",
    "base-24gb-v3-lr1e_3-wdblacklist",
    "base-24gb-v6-lr09e_3",
    "base-24gb-v6-warmup100k",
    "base-24gb-v6-lrdecnorm40k",
    "base-24gb-v6-zoneoutput",
    "base-24gb-v6-relPosAttDef",
    "v6-11gb-f32-bs15k-accgrad4",
    "v6-11gb-f32-bs15k-accgrad1-wd1e_4-ep500-lrlin1e_5_295k",
    "11gb_v6_f32_bs15k_accgrad4",
    "24gb_v6_lrlin1e_5_450k_wd1e_3_dropbc_time",
    "24gb-v6-d384-h6-n16-ks8-aux4_8_16-swish-ln",
]


@pytest.mark.parametrize("name", SEED_NAMES)
def test_names_in_circulation_resolve(name: str) -> None:
    assert type(resolve(name)) is Experiment


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("24gb-v6", "base-24gb-v6"),
        ("24gb-v6", "base_24gb_v6"),
        ("24gb-v6-f32-bs15k-accgrad4", "11gb_v6_f32_bs15k_accgrad4"),
        ("24gb-v6-f32-bs15k-accgrad4", "v6-11gb-accgrad4-f32-bs15k"),
        ("24gb-v6-aux4812", "24gb-v6-aux4_8_12"),
        ("24gb-v6-aux4812", "24gb_v6_aux4812ff"),
        ("24gb-v6-relposxl", "24gb-v6-relPosAttDef"),
        ("24gb-v6-lrlin1e_5_450k", "24gb-v6-lrlin1e_5"),
        ("24gb-v6-lrlin1e_5_450k", "24gb-v6-lrlin1e_5_450k_900k_982k"),
        ("24gb-v6-lrlin1e_5_450k", "base-24gb-v6-lrlin1e_5_450k-posdrop01"),
        ("24gb-v6-lrlin1e_5-bs30k", "24gb-v6-bs30k-lrlin1e_5"),
        ("24gb-v6-aux4_16-n16", "24gb-v6-n16-aux4_16"),
        ("24gb-v6-d390-h6", "24gb-v6-h6-d390"),
        ("24gb-v6-ctconly-n16", "24gb-v6-n16-ctconly"),
        ("24gb-v6-trafodec6-embshare-decdrop02-nodropbc", "24gb-v6-nodropbc-decdrop02-embshare-trafodec6"),
        ("24gb-v4-attdropfixbc-trafodec6-decllama", "24gb-v4-decllama-trafodec6-attdropfixbc"),
    ],
)
def test_spellings_and_orders_of_the_same_experiment(one: str, other: str) -> None:
    assert resolve(one) == resolve(other)
    assert resolve(one).digest() == resolve(other).digest()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("25gb", r"a name starts with a base \(tiny, an4, .*\), '25gb' is none; did you mean 24gb\?"),
        ("tini-f32", r"did you mean tiny\?"),
        ("", "a name starts with a base"),
        ("posdrop01", "'posdrop01' is none"),
        ("24gb-v7", r"there is no base 24gb-v7; the bases are tiny, an4,"),
        ("24gb-v4-posdorp01", r"unknown tag 'posdorp01'; did you mean posdropRATE\?"),
        ("24gb-v4-acgrad4", r"did you mean accgradSTEPS\?"),
        ("24gb-v4-relposX", r"did you mean relposxl\?"),
        ("24gb-v4-xyzzy", r"unknown tag 'xyzzy' \(aedo recipes lists all\)"),
        ("24gb_v4_f32_xyzzy_ln", "unknown tag 'xyzzy_ln'"),
        (
            "24gb-v4-posdrop",
            r"posdrop is not how posdrop is written: posdropRATE, where RATE is a fraction \(01 = 0\.1\)",
        ),
        ("24gb-v4-posdrop0.1", "is not how posdrop is written"),
        ("24gb-v4-posdrop95", r"posdrop95: rate 95 lies outside 0 to 0\.9 \(aedo recipes posdrop explains it\)"),
        ("24gb-v4-accgrad0", "steps 0 lies outside 1 to"),
        ("24gb-v4-accgrad05", r"05 is 0\.5, but a whole number is needed"),
        ("24gb-v4-aux84", "layers 8, 4, which do not increase"),
        (
            "24gb-v6-posdrop01",
            r"posdrop01 changes nothing, 24gb-v6 has encoder\.attention\.position\.dropout = 0\.1 already",
        ),
        ("24gb-v6-specaugorig", r"frames_per_mask = 100, .*max_band_width = 16 already; leave specaugorig out"),
        ("24gb-v6-aux48", r"ctc\.layers = \(4, 8\) already"),
        ("24gb-v6-wd1e_3-wd1e_4", "wd1e_3 and wd1e_4 are the same tag; keep one of them"),
        ("24gb-v6-f32-f32", "are the same tag"),
        ("24gb-v3-wdblacklist-wdblacklist2", r"both set train\.optimizer\.weight_decay\.exclude; keep one of them"),
        ("24gb-v6-lr2e_3-lrlin1e_5", r"lr2e_3 and lrlin1e_5 both set train\.learning_rate\.peak"),
        ("24gb-v6-warmup100k-lrlin1e_5", r"warmup100k and lrlin1e_5 both set train\.learning_rate\.warmup"),
        ("24gb-v6-char-spm1k", r"both set tokenizer\.kind"),
        ("24gb-v6-d384-ff1536", r"d384 and ff1536 both set encoder\.feed_forward\.dim"),
        ("24gb-v6-nodropbc-dropbc_time", r"both set decoder\.readout_dropout\.share"),
        ("24gb-v6-nospecaug-specaugsteps0_1_2", r"does not fit here: AugmentConfig\.specaugment is None"),
        ("24gb-v6-ctconly-zoneoutput", r"zoneoutput and ctconly both set decoder\.zoned_output"),
        ("24gb-v6-trafodec6-zoneoutput", r"(both set decoder\.zoned_output|no field 'zoned_output')"),
        ("24gb-v6-trafodec6-ctconly", r"both set decoder"),
        ("24gb-v6-trafodec6-trafodec2d128", "are the same tag"),
        ("24gb-v6-decdrop02", r"it needs a Transformer decoder; add trafodec6"),
        ("24gb-v6-trafodec2d100", r"dim 100 is not divisible by heads 8"),
        ("24gb-v6-h6", r"encoder\.dim 512 is not divisible by encoder\.attention\.heads 6"),
        ("24gb-v6-aux4_20", r"ctc\.layers \[20\] lie outside the encoder's layers 1 to 12"),
        ("24gb-v6-auxscale01_02_03", r"ctc\.scales has 3 values for 2 ctc\.layers"),
        ("an4-warmup100k", "warmup100k does not fit here: PiecewiseLinear has no field 'warmup'"),
        ("an4-noam", "noam does not fit here: it sets the norm of an inverse square root"),
        ("24gb-v6-down5", "take one of 2, 3, 4, 6, 8, 12"),
        ("24gb-v6-ep300-lrlin1e_5", r"no steps are known for batches of 40000 frames, 300 sub-epochs .*lrlinfrac1e_5"),
        ("24gb-v6-lrlin1e_5_900k_450k_982k", "nodes must increase"),
        ("24gb-v6-lrcosann2000", "leaves nothing of a training of 2000"),
        ("24gb-v6-ctconly-ls02", r"nothing uses loss\.label_smoothing, there is no decoder; leave ls02 out"),
        ("24gb-v6-ctconly-beam4", r"nothing uses search\.beam, there is no decoder"),
        ("24gb-v6-attdrop0-attdropbc", r"nothing uses encoder\.attention\.dropout_share"),
        ("24gb-v6-wd0-wdblacklist", r"weight_decay\.value is 0; leave wdblacklist out"),
        ("an4-stream-ilmscale01", r"nothing uses search\.internal_lm_scale, streaming models are searched without"),
        ("an4-stream-jointtime", r"search\.kind joint_time is not there for chunks"),
        ("an4-stream-chunkaed20_15", "changes nothing"),
        ("an4-chunkaed20_15-trafodec6", "attends to whole utterances; use the LSTM decoder, or none"),
        ("an4-chunkaed20_15-chunk50", r"does not go together with encoder\.chunk"),
        ("24gb-v6-ebranchformer-chunkaed20_15", "hears utterances whole; leave ebranchformer out"),
        ("24gb-v6-blstmf2-chunkaed20_15", "a front-end of kind blstm hears utterances whole"),
        ("24gb-v6-chunkhist4", "nothing is cut into chunks; name chunkaed20_15 too"),
        ("24gb-v6-", "the name ends with one"),
        ("24gb-v6--f32", "two separators follow each other"),
    ],
)
def test_refusals_name_the_mend(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        resolve(name)
    assert str(caught.value).startswith(f"{name}: ")
    assert "\n" not in str(caught.value)


def test_a_tag_may_restate_its_base_in_published_names_only() -> None:
    assert analyse("base-24gb-v6-lrlin1e_5_450k-posdrop01").setter("encoder.attention.position.dropout") == "posdrop01"
    with pytest.raises(UserError, match="changes nothing"):
        resolve("24gb-v6-lrlin1e_5_450k-posdrop01")


def test_fields_must_fit_together_only_once_all_tags_have_spoken() -> None:
    e = resolve("24gb-v6-h6-d390-aux4_16-n16-auxscale01_02")
    assert (e.encoder.dim, e.encoder.attention.heads, e.ctc.layers, e.ctc.scales) == (390, 6, (4, 16), (0.1, 0.2))


def test_a_tag_may_keep_what_another_tag_sets() -> None:
    position = resolve("24gb-v6-posdrop02-relposxl").encoder.attention.position
    assert (position.kind, position.dropout) == ("transformer_xl", 0.2)


def test_diff_says_which_tag_or_base_set_each_field() -> None:
    found = {one.path: one for one in diff("24gb-v4", "24gb-v6-wd1e_3-ctconly-lrlin1e_5_450k")}
    assert list(found) == [
        "augment.specaugment.max_band_width",
        "augment.specaugment.frames_per_mask",
        "encoder.attention.position.dropout",
        "encoder.attention.dropout_share",
        "ctc.layers",
        "decoder",
        "train.learning_rate",
        "train.optimizer.weight_decay.value",
        "train.optimizer.weight_decay.exclude",
        "search.kind",
    ]
    decay = found["train.optimizer.weight_decay.value"]
    assert (decay.left, decay.left_setter, decay.right, decay.right_setter) == (1e-6, "11gb", 1e-3, "wd1e_3")
    bands = found["augment.specaugment.max_band_width"]
    assert (bands.left_setter, bands.right_setter) == ("24gb-v2", "24gb-v5")
    rate = found["train.learning_rate"]
    assert (rate.left_setter, rate.right_setter) == ("24gb-v4", "lrlin1e_5_450k")
    assert (found["decoder"].right, found["decoder"].right_setter) == (None, "ctconly")


def test_diff_of_a_name_with_itself_is_empty() -> None:
    assert diff("24gb-v6-f32", "base_24gb_v6_f32") == ()


def test_every_difference_to_the_base_belongs_to_a_tag() -> None:
    resolved = analyse("24gb-v6-lr2e_3-ctconly-relposxl-nodropbc-ep7-spm512")
    base, whole = leaves(resolve("24gb-v6")), leaves(resolved.experiment)
    differing = {path for path in {*base, *whole} if base.get(path, ...) != whole.get(path, ...)}
    assert differing <= set(resolved.setters)
    assert {resolved.setters[path] for path in differing} == {entry.text for entry in resolved.tags}


def test_a_run_folder_is_compared_by_its_recorded_tree(tmp_path: Path) -> None:
    recorded = {"name": "tiny-gone", "experiment": resolve("tiny-drop04").model_dump(mode="json")}
    (tmp_path / "experiment.json").write_text(json.dumps(recorded))
    (difference,) = diff("tiny", str(tmp_path))
    assert (difference.path, difference.right, difference.right_setter) == ("encoder.dropout.rate", 0.4, "the run")
    recorded["name"] = "tiny-drop04"
    (tmp_path / "experiment.json").write_text(json.dumps(recorded))
    (difference,) = diff("tiny", str(tmp_path))
    assert difference.right_setter == "drop04"


def test_explain_tells_a_tag_a_base_and_a_name() -> None:
    tag = explain("posdrop01")
    assert "7.02 vs 7.07" in tag
    assert "encoder.attention.position.dropout = 0.1" in tag
    assert "0 to 0.9" in tag
    assert "posdropRATE" in explain("posdrop")
    assert "train.gradients.clip_norm: none -> 5" in explain("24gb-v3")
    whole = explain("24gb-v4-posdrop01-f32")
    assert "encoder.attention.position.dropout: 0 -> 0.1" in whole
    assert "train.precision: bfloat16 -> float32" in whole


@pytest.mark.parametrize(("name", "message"), [("posdorp01", "did you mean posdrop"), ("posdrop95", "lies outside")])
def test_explain_refuses_what_it_does_not_know(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        explain(name)
