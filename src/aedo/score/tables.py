"""Scores as plain text: totals, speakers, aligned errors, confusions.  Wide characters keep their columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.cells import cell_len

from aedo.score.bootstrap import Comparison
from aedo.score.wer import GAP, Aligned, Counts, Score


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """Columns of text; the first `left` are flush left, the others flush right."""
    lines = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(cell_len(cell) for cell in column) for column in zip(*lines, strict=True)]

    def line(cells: Sequence[str]) -> str:
        parts = []
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True)):
            space = " " * (width - cell_len(cell))
            parts.append(cell + space if index < left else space + cell)
        return "  ".join(parts).rstrip()

    return "\n".join(
        [line(lines[0]), "  ".join("-" * width for width in widths), *(line(cells) for cells in lines[1:])]
    )


def percent(value: float) -> str:
    return f"{value:.2f}"


def totals(score: Score) -> str:
    """One line: WER, its interval, the kinds of errors, utterances with errors."""
    t, interval = score.total, score.interval
    return (
        f"WER {percent(score.wer)} % [{percent(interval.low)}, {percent(interval.high)}] at {interval.confidence:.0%}: "
        f"{t.errors} errors in {t.words} words = {t.substitutions} substituted + {t.deletions} deleted + "
        f"{t.insertions} inserted; {score.sentence_errors} of {len(score.utterances)} utterances have errors"
    )


def speaker_table(score: Score) -> str:
    """One row a speaker, the worst first."""
    utterances: dict[str, int] = {}
    for utterance in score.utterances:
        utterances[utterance.pair.speaker] = utterances.get(utterance.pair.speaker, 0) + 1
    ordered = sorted(score.speakers.items(), key=lambda item: (-item[1].wer, item[0]))
    rows = [(speaker or "?", str(utterances[speaker]), *_counted(counts)) for speaker, counts in ordered]
    return table(("speaker", "utterances", "words", "S", "D", "I", "WER %"), rows)


def confusion_table(score: Score, most: int = 20) -> str:
    """The most frequent errors; *** stands for no word."""
    rows = [(c.ref or "***", c.hyp or "***", str(c.count)) for c in score.confusions(most)]
    return table(("reference", "recognised", "count"), rows, left=2)


def aligned_text(utterance: Aligned) -> str:
    """Reference above hypothesis, word under word, with S, D or I under each error."""
    references, recognised, marks = ["REF:"], ["HYP:"], ["    "]
    for ref, hyp in utterance.alignment:
        mark = "" if ref == hyp else "I" if ref == GAP else "D" if hyp == GAP else "S"
        width = max(cell_len(ref), cell_len(hyp), 1)
        for cells, cell, filler in ((references, ref, "*"), (recognised, hyp, "*"), (marks, mark, " ")):
            cells.append(cell + " " * (width - cell_len(cell)) if cell else filler * width)
    counts, pair = utterance.counts, utterance.pair
    head = (
        f"{pair.id} (speaker {pair.speaker or '?'}): {counts.errors} errors in {counts.words} words, "
        f"S {counts.substitutions} D {counts.deletions} I {counts.insertions}"
    )
    return "\n".join([head, *(" ".join(cells).rstrip() for cells in (references, recognised, marks))])


def compared(comparison: Comparison) -> str:
    """One line: this system against another one."""
    low, high = percent(comparison.interval.low), percent(comparison.interval.high)
    verdict = "significant" if comparison.significant else "not significant"
    return (
        f"Against the other: {comparison.difference:+.2f} points of WER [{low}, {high}], p = {comparison.p_value:.4f}: "
        f"{verdict} at {comparison.interval.confidence:.0%} (paired bootstrap over utterances)"
    )


def page(score: Score, against: Comparison | None = None, *, worst: int = 10, confusions: int = 20) -> list[str]:
    """Everything, in parts: totals, comparison, speakers, confusions, aligned errors."""
    parts = [totals(score)]
    if against is not None:
        parts.append(compared(against))
    if any(score.speakers):
        parts.append(speaker_table(score))
    if confusions and score.total.errors:
        parts.append(confusion_table(score, confusions))
    parts += [aligned_text(utterance) for utterance in score.worst(worst)]
    return parts


def _counted(counts: Counts) -> tuple[str, ...]:
    numbers = (counts.words, counts.substitutions, counts.deletions, counts.insertions)
    return (*(str(number) for number in numbers), percent(counts.wer))
