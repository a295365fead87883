"""aedo align: when each word of a known text is spoken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aedo.commands.options import Checkpoint, Device, RunOption

if TYPE_CHECKING:
    from aedo.data.audio import AudioConfig
    from aedo.run import RunFolder
    from aedo.search.align_texts import Utterance
    from aedo.search.formats import AlignedText
    from aedo.search.recognize import Recognizer


def register(app: typer.Typer) -> None:
    @app.command()
    def align(
        run: RunOption,
        files: Annotated[
            list[Path] | None,
            typer.Argument(help="Audio files, each with its text beside it (.txt).", show_default=False),
        ] = None,
        text: Annotated[
            str | None,
            typer.Option(help="The text of a single file, instead of the one beside it.", show_default=False),
        ] = None,
        normalize: Annotated[
            str, typer.Option(help="Steps that make texts like those of the training: unicode, nopunct, upper, lower.")
        ] = "none",
        data: Annotated[
            Path | None, typer.Option(help="Prepared folder to align instead of files.", show_default=False)
        ] = None,
        sets: Annotated[str, typer.Option(help="Its splits to align, joined by commas.")] = "",
        format: Annotated[str, typer.Option(help="json, ctm or textgrid (Praat; one file an utterance).")] = "json",
        out: Annotated[
            Path | None,
            typer.Option("--out", "-o", help="Folder to write to. Default: standard output.", show_default=False),
        ] = None,
        checkpoint: Checkpoint = "",
        max_seconds: Annotated[
            float, typer.Option(min=1.0, help="Longer audio is refused: memory grows with its square.")
        ] = 120.0,
        device: Device = "auto",
    ) -> None:
        """Tell when each word of a known text is spoken, by the best path of the last CTC head through the text.

        A text that cannot be that of its audio is reported on standard error, the others are still aligned, and the
        exit status is 2.
        """
        from aedo.run import RunFolder

        _check(files, text, data, sets, format)
        folder = RunFolder.open(run)
        recognizer, audio, failed = _recognizer(folder, checkpoint, device), folder.experiment().audio, False
        jobs = {"": _of_files(files, text, normalize, recognizer, audio)} if files else {}
        if data is not None:
            jobs |= {name.strip(): _of_set(data, name.strip(), recognizer, audio) for name in sets.split(",")}
        for name, utterances in jobs.items():
            aligned, problems = _aligned(recognizer, utterances, audio, max_seconds)
            for problem in problems:
                failed = True
                typer.echo(f"error: {problem}", err=True)
            _put_out(aligned, format, out, name)
        if failed:
            raise typer.Exit(2)


def _check(files: list[Path] | None, text: str | None, data: Path | None, sets: str, format: str) -> None:
    """UserError where the options do not say what to align, or how to write it."""
    from aedo.errors import UserError
    from aedo.search.formats import ALIGNMENTS

    if format not in ALIGNMENTS:
        raise UserError(f"--format {format}: unknown; use {', '.join(ALIGNMENTS)}")
    if bool(files) == (data is not None):
        raise UserError("give audio files or --data FOLDER with --sets, one of the two")
    if data is not None and not sets.strip(", "):
        raise UserError("--data: which of its splits? give --sets dev, or several joined by commas")
    if text is not None and len(files or ()) != 1:
        raise UserError("--text is the text of a single file; put texts beside several files (.txt)")


def _recognizer(run: RunFolder, checkpoint: str, device: str) -> Recognizer:
    """UserError where the model has no CTC head."""
    from aedo.errors import UserError
    from aedo.search.choose import preferred, recognizer_of
    from aedo.search.device import device_of

    taken = run.checkpoint(checkpoint) if checkpoint else preferred(run)
    recognizer = recognizer_of(run, taken, device_of(device))
    if not recognizer.model.ctc_layers:
        raise UserError(f"{run.path}: its model has no CTC head to align with; use a run trained with one")
    return recognizer


def _aligned(
    recognizer: Recognizer, utterances: Iterator[Utterance | str], audio: AudioConfig, max_seconds: float
) -> tuple[list[AlignedText], list[str]]:
    """What could be aligned, in the order given, and what is wrong with the others."""
    from aedo.search.align_texts import CannotAlign, align_texts, check_fit
    from aedo.search.recognize import batches

    config, rate = recognizer.config, audio.sample_rate
    aligned: list[AlignedText] = []
    problems: list[str] = []
    waiting: list[Utterance] = []

    def flush() -> None:
        found: dict[int, AlignedText] = {}
        for chosen in batches([len(u.samples) for u in waiting], config.max_samples, config.max_utterances):
            results = align_texts(recognizer, [waiting[i] for i in chosen], rate)
            found.update(zip(chosen, results, strict=True))
        aligned.extend(found[i] for i in range(len(waiting)))
        waiting.clear()

    for utterance in utterances:
        if isinstance(utterance, str):
            problems.append(utterance)
            continue
        if len(utterance.samples) > max_seconds * rate:
            problems.append(
                f"{utterance.id}: audio has {len(utterance.samples) / rate:.1f} s, more than --max-seconds "
                f"{max_seconds:g}; cut audio and text, or raise the limit"
            )
            continue
        try:
            check_fit(recognizer, utterance, rate)
        except CannotAlign as problem:
            problems.append(f"{utterance.id}: {problem}")
            continue
        if sum(len(u.samples) for u in waiting) + len(utterance.samples) > config.max_samples:
            flush()
        waiting.append(utterance)
    flush()
    return aligned, problems


def _of_files(
    files: list[Path], text: str | None, normalize: str, recognizer: Recognizer, audio: AudioConfig
) -> Iterator[Utterance | str]:
    """Utterances, or what is wrong with them."""
    from aedo.data.audio import AudioProblem, peak_normalized, read_audio
    from aedo.data.text import normalizer
    from aedo.search.align_texts import CannotAlign, Utterance, labels_of

    normalized = normalizer(normalize)
    for path in files:
        try:
            words = path.with_suffix(".txt").read_text(encoding="utf-8") if text is None else text
            labels = labels_of(recognizer.tokenizer, normalized(words))
            samples = read_audio(path, audio.sample_rate)
        except (OSError, UnicodeDecodeError) as error:
            yield f"{path.with_suffix('.txt')}: no text to align {path.name} with ({error}); write it there, in UTF-8"
        except AudioProblem as problem:
            yield f"{path}: {problem.reason}"
        except CannotAlign as problem:
            yield f"{path}: {problem}"
        else:
            yield Utterance(path.stem, peak_normalized(samples) if audio.peak_normalize else samples, labels)


def _of_set(data: Path, name: str, recognizer: Recognizer, audio: AudioConfig) -> Iterator[Utterance | str]:
    """The utterances of a prepared split, or what is wrong with them."""
    from aedo.data.audio import AudioProblem, samples_of
    from aedo.data.manifest import Manifest
    from aedo.search.align_texts import CannotAlign, Utterance, labels_of

    manifest = Manifest.open(data, name)
    for number in range(len(manifest)):
        cut = manifest.cut(number)
        try:
            labels = labels_of(recognizer.tokenizer, cut.supervisions[0].text or "")
            yield Utterance(cut.id, samples_of(cut, audio), labels)
        except AudioProblem as problem:
            yield f"{cut.id}: {cut.recording.sources[0].source}: {problem.reason}"
        except CannotAlign as problem:
            yield f"{cut.id}: {problem}"


def _put_out(aligned: list[AlignedText], kind: str, out: Path | None, name: str) -> None:
    """To standard output; with a folder, one file for a split, or for each utterance where the format holds but one."""
    from aedo.files import explained, write_text
    from aedo.search.formats import ALIGNMENTS

    if out is None:
        if aligned:
            typer.echo(ALIGNMENTS[kind](aligned), nl=False)
        return
    endings = {"json": "json", "ctm": "ctm", "textgrid": "TextGrid"}
    one_by_one = kind == "textgrid" or not name
    groups = {text.id: [text] for text in aligned} if one_by_one else {name: aligned}
    with explained(out, "write the alignments"):
        out.mkdir(parents=True, exist_ok=True)
        for title, texts in groups.items():
            write_text(out / f"{title.replace('/', '_')}.{endings[kind]}", ALIGNMENTS[kind](texts))
