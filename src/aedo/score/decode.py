"""Prepared sets through a recogniser into files: what was recognised, and how well."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from aedo.data.audio import AudioConfig, AudioProblem, samples_of
from aedo.experiment import Experiment
from aedo.files import explained, write_text
from aedo.run import Checkpoint, RunFolder
from aedo.score.wer import Pair, score
from aedo.search.choose import recognizer_of, search_as_asked, search_of
from aedo.search.config import Kind, SearchConfig
from aedo.search.fused import lm_digest
from aedo.search.precision import Precision
from aedo.search.recognize import Recognition, Recognizer, batches

if TYPE_CHECKING:
    from lhotse.cut import MonoCut

    from aedo.data.manifest import Manifest

READERS = 2
"""Threads that read audio ahead of the search."""


@dataclass(frozen=True)
class Decoded:
    """A set with its results on disk."""

    totals: dict[str, Any]
    """Contents of SET.json."""
    fresh: bool
    """False where the files were there already."""


@dataclass(frozen=True)
class SetOfCuts:
    """The utterances of one split of a prepared folder."""

    name: str
    data: str
    cuts: tuple[MonoCut, ...]

    @classmethod
    def read(cls, manifest: Manifest, name: str, data: Path) -> SetOfCuts:
        return cls(name, str(data.resolve()), tuple(manifest.cut(i) for i in range(len(manifest))))

    @cached_property
    def digest(self) -> str:
        """Changes when an utterance, its audio or its text does."""
        content = hashlib.sha256()
        for cut in self.cuts:
            content.update(f"{cut.id}\t{_source(cut)}\t{cut.num_samples}\t{_text(cut)}\n".encode())
        return content.hexdigest()[:16]


@dataclass(frozen=True)
class Decoding:
    """With what to decode: a checkpoint of a run and a search."""

    run: RunFolder
    checkpoint: Checkpoint
    device: str = "cpu"
    beam: int | None = None
    """None: the run's own."""
    use_ctc: bool = False
    """Best frame path of the last CTC head; the same as the kind `ctc_greedy`."""
    kind: Kind | None = None
    """None: the run's own."""
    nbest: int = 0
    """So many hypotheses of every utterance are written beside the best one."""
    precision: Precision = "float32"
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Other settings of the search than the run's own, by the names of `SearchConfig`."""

    @cached_property
    def experiment(self) -> Experiment:
        return self.run.experiment()

    @cached_property
    def recognizer(self) -> Recognizer:
        """Loaded on first use."""
        return recognizer_of(
            self.run,
            self.checkpoint,
            self.device,
            kind=self._kind,
            beam=self.beam,
            whole_beam=bool(self.nbest),
            precision=self.precision,
            settings=self.settings,
        )

    @cached_property
    def search(self) -> dict[str, Any]:
        """The search as SET.json describes it: what plays a part in its results."""
        asked = search_as_asked(
            self.run, kind=self._kind, beam=self.beam, whole_beam=bool(self.nbest), settings=self.settings
        )
        lists = {"nbest": self.nbest} if self.nbest else {}
        bits = {} if self.precision == "float32" else {"precision": self.precision}
        return {**asked.described(self._kind), **lm_digest(asked, self._kind), **lists, **bits}

    @property
    def folder(self) -> Path:
        """recog/LABEL for the run's own search, recog/LABEL+WHAT-DIFFERS for others: none overwrites another."""
        changes = []
        if self._kind != self._own.kind_for(**self._parts):
            changes.append({"ctc_greedy": "ctc-greedy"}.get(self._kind, self._kind.replace("_", "-")))
        if self._kind != "ctc_greedy" and self.beam not in (None, self._own.beam):
            changes.append(f"beam{self.beam}")
        changes += [
            _spelled(name, value) for name, value in sorted(self.settings.items()) if value != self._own_of(name)
        ]
        if self.precision != "float32":
            changes.append(self.precision)
        return self.run.recog_folder / "+".join((self.checkpoint.label, *changes))

    @cached_property
    def _own(self) -> SearchConfig:
        return search_of(self.run)

    def _own_of(self, name: str) -> object:
        return getattr(self._own, name, None)

    @property
    def _parts(self) -> dict[str, bool]:
        return {"decoder": self.experiment.decoder is not None, "ctc": bool(self.experiment.ctc.layers)}

    @cached_property
    def _kind(self) -> Kind:
        return "ctc_greedy" if self.use_ctc else self.kind or self._own.kind_for(**self._parts)


def _spelled(name: str, value: object) -> str:
    """A setting in the name of a folder; longer ones, such as paths and lists, by a digest."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    if name in ("lm", "hotwords") or not text.replace(".", "").replace("-", "").isalnum():
        text = "-" + hashlib.sha256(text.encode()).hexdigest()[:6]
    return name.replace("_", "-") + text


def decode_set(
    decoding: Decoding,
    cuts: SetOfCuts,
    *,
    again: bool = False,
    progress: Callable[[int], None] = lambda utterances: None,
) -> Decoded:
    """Recognise and score a set; write SET.jsonl and SET.json into the decoding's folder.

    Results of this very checkpoint, search and set that are there already are kept unless `again`.  An utterance whose
    audio cannot be used is scored as if nothing had been recognised, with the reason beside it.  `progress` gets the
    number of utterances done.
    """
    folder, made_from = decoding.folder, _made_from(decoding, cuts)
    path = folder / f"{cuts.name}.json"
    kept = None if again else _kept(path, made_from)
    if kept is not None:
        return Decoded(kept, fresh=False)

    recognizer, audio = decoding.recognizer, decoding.experiment.audio
    seconds = 0.0
    lines: dict[int, dict[str, Any]] = {}
    with ThreadPoolExecutor(READERS) as readers:
        for chosen, loaded in _read_ahead(readers, cuts.cuts, audio, recognizer.config):
            usable = [
                (i, samples) for i, samples in zip(chosen, loaded, strict=True) if isinstance(samples, np.ndarray)
            ]
            begin = time.perf_counter()
            found = recognizer.recognize_batch([samples for _, samples in usable])
            seconds += time.perf_counter() - begin
            for (i, _), result in zip(usable, found, strict=True):
                lines[i] = {**_line(cuts.cuts[i], result), **_others(decoding, result)}
            for i, samples in zip(chosen, loaded, strict=True):
                if isinstance(samples, AudioProblem):
                    lines[i] = _line(cuts.cuts[i], None, samples.reason)
            progress(len(chosen))
    ordered = [lines[i] for i in range(len(cuts.cuts))]
    totals = _totals(cuts, ordered, made_from, seconds)
    with explained(folder, "write the results"):
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / f"{cuts.name}.jsonl", "".join(json.dumps(x, ensure_ascii=False) + "\n" for x in ordered))
        write_text(path, json.dumps(totals, ensure_ascii=False, indent=1) + "\n")
    return Decoded(totals, fresh=True)


def decoded(decoding: Decoding, cuts: SetOfCuts) -> dict[str, Any] | None:
    """Contents of SET.json if results of this very checkpoint, search and set are on the disk."""
    return _kept(decoding.folder / f"{cuts.name}.json", _made_from(decoding, cuts))


def _made_from(decoding: Decoding, cuts: SetOfCuts) -> dict[str, Any]:
    """What decides about the results, as SET.json records it."""
    return {
        "checkpoint": decoding.checkpoint.label,
        "checkpoint_digest": hashlib.sha256(decoding.checkpoint.describe().encode()).hexdigest()[:16],
        "search": decoding.search,
        "data": cuts.data,
        "data_digest": cuts.digest,
    }


def _kept(path: Path, made_from: dict[str, Any]) -> dict[str, Any] | None:
    try:
        totals: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    same = all(totals.get(name) == value for name, value in made_from.items())
    return totals if same and path.with_suffix(".jsonl").is_file() else None


def _totals(
    cuts: SetOfCuts, lines: Sequence[dict[str, Any]], made_from: dict[str, Any], seconds: float
) -> dict[str, Any]:
    scored = score(Pair(line["id"], line["speaker"], line["ref"], line["hyp"]) for line in lines)
    duration = sum(float(cut.duration) for cut in cuts.cuts)
    return {
        "set": cuts.name,
        **made_from,
        **scored.as_json(),
        "unreadable": sum("problem" in line for line in lines),
        "seconds": round(seconds, 3),
        "audio_seconds": round(duration, 3),
        "real_time_factor": round(seconds / duration, 5),
    }


def _line(cut: MonoCut, result: Recognition | None, problem: str | None = None) -> dict[str, Any]:
    line: dict[str, Any] = {
        "id": cut.id,
        "speaker": cut.supervisions[0].speaker or "",
        "ref": _text(cut),
        "hyp": "" if result is None else result.text,
        "score": None if result is None else round(result.score, 5),
        "duration": round(float(cut.duration), 3),
        "audio": _source(cut),
    }
    return line if problem is None else {**line, "problem": problem}


def _others(decoding: Decoding, result: Recognition) -> dict[str, Any]:
    """The best hypotheses, where asked for."""
    if not decoding.nbest:
        return {}
    decode = decoding.recognizer.tokenizer.decode
    best = result.hypotheses[: decoding.nbest]
    return {"nbest": [{"hyp": decode(h.labels), "score": round(h.score, 5)} for h in best]}


def _read_ahead(
    readers: ThreadPoolExecutor, cuts: Sequence[MonoCut], audio: AudioConfig, config: SearchConfig
) -> Iterator[tuple[list[int], list[npt.NDArray[np.float32] | AudioProblem]]]:
    """Batches of indices with their audio, the next batch being read while this one is searched."""
    plan = batches([cut.num_samples for cut in cuts], config.max_samples, config.max_utterances)

    def read(i: int) -> npt.NDArray[np.float32] | AudioProblem:
        try:
            return samples_of(cuts[i], audio)
        except AudioProblem as problem:
            return problem

    def submit(chosen: list[int]) -> list[Future[npt.NDArray[np.float32] | AudioProblem]]:
        return [readers.submit(read, i) for i in chosen]

    coming = submit(plan[0]) if plan else []
    for number, chosen in enumerate(plan):
        now, coming = coming, submit(plan[number + 1]) if number + 1 < len(plan) else []
        yield chosen, [future.result() for future in now]


def _text(cut: MonoCut) -> str:
    return cut.supervisions[0].text or ""


def _source(cut: MonoCut) -> str:
    return str(cut.recording.sources[0].source)
