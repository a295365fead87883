"""Confidence fitted to what is right and wrong on a prepared set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aedo.data.audio import AudioProblem, samples_of
from aedo.errors import UserError
from aedo.score.decode import SetOfCuts
from aedo.score.wer import GAP, align
from aedo.search.confidence import Calibration, Evidence, cross_validated, raw_confidence, reliability
from aedo.search.recognize import batches
from aedo.search.transcribe import Transcriber

_FOLDS = 5


@dataclass(frozen=True)
class Fitted:
    calibration: Calibration
    findings: dict[str, Any]
    """words, errors, and reliability `before` and `after`; `after` is cross-validated: of words not fitted to, and
    neither were others of their speaker (`left_out`: speakers, or utterances where no two speakers are known)."""


def right_words(ref: Sequence[str], hyp: Sequence[str]) -> list[bool]:
    """Whether each recognised word stands for a word of the reference that is the same."""
    return [a == b for a, b in align(ref, hyp) if b != GAP]


def calibrate(
    transcriber: Transcriber,
    cuts: SetOfCuts,
    made_from: dict[str, Any],
    progress: Callable[[int], None] = lambda utterances: None,
) -> Fitted:
    """Recognise a set and fit confidence to it.

    UserError where the set has too few words, or none that is right or none that is wrong: nothing to learn from.
    """
    evidence: list[Evidence] = []
    right: list[bool] = []
    numbers: list[int] = []
    config = transcriber.recognizer.config
    for chosen in batches([cut.num_samples for cut in cuts.cuts], config.max_samples, config.max_utterances):
        usable = []
        for i in chosen:
            try:
                usable.append((i, samples_of(cuts.cuts[i], transcriber.audio)))
            except AudioProblem:
                continue  # nothing is recognised in it
        batch = transcriber.recognizer.encode([samples for _, samples in usable])
        progress(len(chosen))
        if batch is None:
            continue
        for position, heard in zip(batch.audible, transcriber.understood(batch.encoded), strict=True):
            number = usable[position][0]
            ref = (cuts.cuts[number].supervisions[0].text or "").split()
            right += right_words(ref, [word.text for word in heard.words])
            evidence += [word.evidence for word in heard.words]
            numbers += [number] * len(heard.words)
    if sum(right) < 10 or len(right) - sum(right) < 10:
        raise UserError(
            f"{cuts.data}: {cuts.name} gives {len(right)} recognised words, {len(right) - sum(right)} of them wrong: "
            "confidence is fitted to at least ten right and ten wrong ones; give a larger --set"
        )
    groups, left_out = left_out_together(cuts, numbers)
    calibration = Calibration.fit(evidence, right, made_from)
    findings = {
        "words": len(right),
        "wrong": len(right) - sum(right),
        "left_out": left_out,
        "before": reliability([raw_confidence(one) for one in evidence], right),
        "after": reliability(cross_validated(evidence, right, groups, _FOLDS), right),
    }
    return Fitted(calibration, findings)


def left_out_together(cuts: SetOfCuts, numbers: Sequence[int]) -> tuple[list[int], str]:
    """Words that are left out of a fit together: those of a speaker, or of an utterance where no two are known.

    numbers: of the utterance of each word.
    """
    speakers = [str(cut.supervisions[0].speaker or "") for cut in cuts.cuts]
    known = sorted({speakers[number] for number in numbers})
    if len(known) < 2 or "" in known:
        return list(numbers), "utterances"
    return [known.index(speakers[number]) for number in numbers], "speakers"
