"""How a model is searched: the settings of every search, and which of them a model gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from aedo.config import Part
from aedo.errors import UserError

Kind = Literal["attention", "joint", "joint_time", "ctc_prefix", "ctc_greedy"]
Share = Annotated[float, Field(ge=0, le=1)]

OF_DECODER: tuple[Kind, ...] = ("attention", "joint", "joint_time")
"""Searches in which the decoder plays a part."""
OF_CTC: tuple[Kind, ...] = ("joint", "joint_time", "ctc_prefix", "ctc_greedy")
"""Searches in which the last CTC head does."""


class SearchConfig(Part):
    kind: Kind | None = None
    """attention: the decoder's beam search.  joint: beam search over labels by the decoder and the CTC prefix score.
    joint_time: CTC prefixes frame by frame, scored by the decoder, too.  ctc_prefix: the same without the decoder.
    ctc_greedy: the best frame path.  None: joint where the model has a decoder and a CTC head, else attention or
    ctc_greedy."""
    beam: int = Field(12, ge=1)
    """Hypotheses kept per utterance."""
    length_normalization: float = 1.0
    """Exponent of the length normalisation in the search by attention alone."""
    ctc_scale: Share = 0.5
    """Weight of CTC in the joint searches; the decoder has the rest of 1.  `aedo tune` finds it on dev."""
    length_reward: float = 0.0
    """Added for every label (all searches but ctc_greedy; by attention alone, beside its normalisation)."""
    considered: int | None = Field(40, ge=1)
    """Labels scored in full at each step: of each hypothesis the decoder's best (joint), of each frame CTC's best
    (joint_time, ctc_prefix).  None: all."""
    recombination: Literal["max", "sum"] = "sum"
    """What paths of frame symbols with the same labels count (joint_time, ctc_prefix): the best one, or all."""
    soft_collapse: Share | None = None
    """Frames next to each other whose likeliest symbol is the same and at least that likely become one; for CTC in the
    joint searches and ctc_prefix."""
    skip_blank: Share | None = None
    """Frames in which blank is at least that likely are left out (joint_time, ctc_prefix)."""
    prune: float | None = Field(None, gt=0)
    """Hypotheses worse than the best by more than this are dropped (joint_time, ctc_prefix)."""
    coverage_scale: float = 0.0
    """Weight of the coverage by the decoder's attention, relative to its log probability (joint searches)."""
    monotonicity_scale: float = Field(0.0, ge=0)
    """Weight of the loss for attention that does not move on, relative to the same (joint searches)."""
    internal_lm_scale: float = Field(0.0, ge=0)
    """How much of what the decoder says without having heard anything is taken off (attention, joint searches)."""
    lm: str | None = None
    """File or folder of a language model with the labels of the run, which has a say in every search but ctc_greedy."""
    lm_scale: float = Field(0.3, ge=0)
    """Weight of its log probabilities."""
    lm_use: Literal["search", "lists"] = "search"
    """search: it has a say at every label.  lists: only about the hypotheses that the search without it has found
    (N-best rescoring)."""
    prior_scale: float = Field(0.0, ge=0)
    """How much of the labels' log prior, CTC's mean posterior over training data, is taken off (joint, joint_time,
    ctc_prefix)."""
    hotwords: tuple[str, ...] = ()
    """Phrases to be heard more readily (all searches but ctc_greedy)."""
    hotword_bias: float = Field(1.5, ge=0)
    """Added for each label of such a phrase, and taken back where it breaks off."""
    whole_beam: bool = False
    """Search on until all hypotheses have ended, for complete lists of the best ones (joint)."""
    max_samples: int = Field(3_200_000, gt=0)
    """Padded samples per recognition batch."""
    max_utterances: int = Field(200, ge=1)

    def kind_for(self, *, decoder: bool, ctc: bool) -> Kind:
        """The search of a model with or without these parts."""
        if self.kind is not None:
            return self.kind
        if not decoder:
            return "ctc_greedy"
        return "joint" if ctc else "attention"

    def described(self, kind: Kind) -> dict[str, object]:
        """What plays a part in the results of this kind of search, for the files that hold them."""
        method = {"attention": "beam", "ctc_greedy": "ctc-greedy"}.get(kind, kind)
        idle = {field for field in _LATER[kind] if getattr(self, field) == SearchConfig.model_fields[field].default}
        idle |= {"lm_scale", "lm_use"} if self.lm is None else set()
        idle |= set() if self.hotwords else {"hotword_bias"}
        return {"method": method, **self.model_dump(mode="json", include=set(FIELDS[kind]) - idle)}

    def uses(self, part: Literal["lm", "prior", "hotwords"], kind: Kind) -> bool:
        """Whether something outside the model has a say in this kind of search."""
        name, scale = {
            "lm": ("lm", "lm_scale"),
            "prior": ("prior_scale",) * 2,
            "hotwords": ("hotwords", "hotword_bias"),
        }[part]
        return name in FIELDS[kind] and bool(getattr(self, name)) and getattr(self, scale) > 0


_FUSED: tuple[str, ...] = ("lm", "lm_scale", "lm_use", "hotwords", "hotword_bias")
_TIME: tuple[str, ...] = ("beam", "considered", "recombination", "soft_collapse", "skip_blank", "prune")
_JOINT: tuple[str, ...] = (
    "ctc_scale",
    "length_reward",
    "coverage_scale",
    "monotonicity_scale",
    "internal_lm_scale",
    "prior_scale",
    *_FUSED,
)
FIELDS: dict[Kind, tuple[str, ...]] = {
    "attention": ("beam", "length_normalization", "length_reward", "internal_lm_scale", *_FUSED),
    "joint": ("beam", "considered", "soft_collapse", "whole_beam", *_JOINT),
    "joint_time": (*_TIME, *_JOINT),
    "ctc_prefix": (*_TIME, "length_reward", "prior_scale", *_FUSED),
    "ctc_greedy": (),
}
"""The fields that each kind looks at, beside those of the batches."""
_LATER: dict[Kind, tuple[str, ...]] = {
    "attention": ("length_reward", "internal_lm_scale", *_FUSED),
    "joint": ("prior_scale", *_FUSED),
    "joint_time": ("prior_scale", *_FUSED),
    "ctc_prefix": ("length_reward", "prior_scale", *_FUSED),
    "ctc_greedy": (),
}
"""Those left out of a description where they change nothing: results from before there was a choice stay valid."""

NAMES: dict[str, Kind] = {
    "attention": "attention",
    "joint": "joint",
    "joint-time": "joint_time",
    "ctc-prefix": "ctc_prefix",
    "ctc": "ctc_greedy",
}
"""How the searches are named on the command line."""


def kind_named(name: str) -> Kind:
    """UserError where there is no such search."""
    if name not in NAMES:
        raise UserError(f"--search {name}: unknown; use {', '.join(NAMES)}")
    return NAMES[name]


def name_of(kind: Kind) -> str:
    """On the command line."""
    return next(name for name, value in NAMES.items() if value == kind)


def check_settings(settings: Mapping[str, object], kind: Kind) -> None:
    """UserError where a setting does not exist, or this kind of search does not look at it."""
    everywhere = ("max_samples", "max_utterances")
    for name in settings:
        if name not in SearchConfig.model_fields:
            known = ", ".join(sorted({*FIELDS[kind], *everywhere}))
            raise UserError(f"{name}: no setting of a search; the search {name_of(kind)} has {known}")
        if name not in FIELDS[kind] and name not in everywhere:
            fitting = ", ".join(name_of(one) for one in FIELDS if name in FIELDS[one])
            raise UserError(f"{name}: the search {name_of(kind)} does not look at it; give --search, one of {fitting}")


def check_kind(kind: Kind, *, decoder: bool, ctc: bool) -> None:
    """UserError where the model lacks what the search needs."""
    name = name_of(kind)
    if kind in OF_DECODER and not decoder:
        raise UserError(f"this model has no decoder, which the search {name} needs; use ctc or ctc-prefix")
    if kind in OF_CTC and not ctc:
        raise UserError(f"this model has no CTC head, which the search {name} needs; use attention")
