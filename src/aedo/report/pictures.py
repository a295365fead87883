"""Where the model looked and when it heard: decoder attention and CTC alignment of a few utterances.

B batch (1 here), N samples, T encoder frames, U labels, M mel frames, F mel filters, V labels of the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aedo.data.audio import AudioProblem, peak_normalized
from aedo.data.text import Tokenizer
from aedo.errors import UserError
from aedo.experiment import Experiment
from aedo.model.aed import AED
from aedo.model.labels import Labels
from aedo.report.clips import utterance_samples
from aedo.report.figure import HEAT, INK, SERIES, style, svg
from aedo.report.gather import Run
from aedo.search.alignment import BLANK, align, frames_needed

LONGEST_SECONDS = 35.0
MOST_LABELS = 160
_MOST_TICKS = 60

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Picture:
    """One utterance's picture, or the reason why there is none."""

    id: str
    image: Markup | None
    text: str
    """What the labels say: the words recognised, or the reference where nothing was."""
    note: str


@dataclass(frozen=True)
class Inspected:
    """What the model made of an utterance."""

    mel: Floats
    """[M, F]."""
    attention: Floats | None
    """[U + 1, T], teacher-forced, EOS last; None without a decoder."""
    ctc: Floats | None
    """[T, V + 1] log-probabilities, blank last; None without a CTC head."""
    labels: tuple[int, ...]
    seconds: float


class Inspector:
    """A checkpoint, loaded to look inside.  Raises UserError where it cannot be loaded."""

    def __init__(self, run: Run, label: str) -> None:
        self.experiment: Experiment = run.folder.experiment()
        self.tokenizer: Tokenizer = run.folder.tokenizer()
        weights = run.folder.checkpoint_folder / label / "model.safetensors"
        if not weights.is_file():
            raise UserError(
                f"{weights}: not there any more; the weights of decoded checkpoints are needed for pictures"
            )
        self.model: AED = run.folder.load_model(label).eval()

    def picture(self, line: dict[str, Any], key: str) -> Picture:
        """The picture of a line of SET.jsonl."""
        id, hyp, ref = (str(line.get(name) or "") for name in ("id", "hyp", "ref"))
        text, forced = (hyp, "the words recognised") if hyp.strip() else (ref, "the reference (nothing was recognised)")
        try:
            found = self.inspect(line, text)
        except AudioProblem as error:
            return Picture(id, None, text, f"no picture: {error}")
        return Picture(id, self._draw(found, key), text, f"Labels: {forced}.")

    @torch.inference_mode()
    def inspect(self, line: dict[str, Any], text: str) -> Inspected:
        """Run the model over one utterance with `text` as labels.  Raises AudioProblem where it cannot be shown."""
        audio = self.experiment.audio
        samples = utterance_samples(line, audio.sample_rate)
        seconds = len(samples) / audio.sample_rate
        labels = self.tokenizer.encode(text)
        if seconds > LONGEST_SECONDS or len(labels) > MOST_LABELS:
            raise AudioProblem(f"{seconds:.0f} s and {len(labels)} labels are too long to draw")
        if not np.isfinite(samples).all() or not np.abs(samples).max(initial=0.0):
            raise AudioProblem("the audio is silent or not finite")
        samples = peak_normalized(samples) if audio.peak_normalize else samples
        length = torch.tensor([len(samples)])
        if int(self.model.encoder_frames(length)) < 1:
            raise AudioProblem("the audio is shorter than one frame")
        features = self.model.features(torch.from_numpy(samples)[None], length)
        encoded = self.model.encode(features)
        attention = ctc = None
        if self.model.decoder is not None:
            right = Labels(torch.tensor([labels], dtype=torch.int64).view(1, -1), torch.tensor([len(labels)]))
            forced = self.model.targets(encoded, right)
            attention = self.model.decoder(encoded, forced, keep_attention=True).attention
            attention = None if attention is None else attention[forced.places()[0, : len(labels) + 1]]
        if self.model.ctc_layers:
            ctc = self.model.ctc_log_probs(encoded)[0].numpy()
        weights = None if attention is None else attention.float().numpy()
        return Inspected(features.values[0].numpy(), weights, ctc, tuple(labels), seconds)

    def _draw(self, found: Inspected, key: str) -> Markup:
        names = [self._name(label) for label in found.labels]
        rows = [len(names) + 1 for shown in (found.attention, found.ctc) if shown is not None]
        heights = [0.75, *(max(0.8, min(0.16 * row, 6.0)) for row in rows)]
        with style():
            figure = Figure(figsize=(11.0, sum(heights) + 0.55 * len(heights)), layout="constrained")
            panels = list(np.atleast_1d(figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)))
            _mel(panels.pop(0), found)
            if found.attention is not None:
                _heat(panels[0], found.attention, [*names, "end"], "decoder attention", found.seconds)
            if found.ctc is not None:
                _ctc(panels[-1], found, names)
            for axes in figure.axes:
                axes.set_xlim(0, found.seconds)
                axes.grid(visible=False)
            figure.axes[-1].set_xlabel("seconds")
            return svg(figure, key, "log-mel features, decoder attention and CTC alignment over time")

    def _name(self, label: int) -> str:
        return self.tokenizer.decode([label]) or "␣"


def _mel(axes: Axes, found: Inspected) -> None:
    low, high = np.quantile(found.mel, [0.05, 0.995])
    shown = np.clip((found.mel - low) / max(float(high - low), 1e-6), 0, 1)
    _image(axes, shown.T, found.seconds, origin="lower")
    axes.set_title("log-mel features")
    axes.set_yticks([])


def _heat(axes: Axes, rows: npt.NDArray[np.floating], names: list[str], title: str, seconds: float) -> None:
    """rows [U, T] in [0, 1], the first label on top."""
    _image(axes, rows, seconds, origin="upper")
    stride = -(-len(names) // _MOST_TICKS)
    axes.set_yticks(np.arange(0, len(names), stride) + 0.5, names[::stride], fontsize=7, color=INK)
    axes.tick_params(axis="y", length=0)
    axes.set_title(title)


def _ctc(axes: Axes, found: Inspected, names: list[str]) -> None:
    """Posteriors of the labels and of blank, with the best path through the labels as a line."""
    assert found.ctc is not None
    frames = len(found.ctc)
    rows = np.exp(found.ctc[:, [*found.labels, found.ctc.shape[1] - 1]].T)  # [U + 1, T]
    labels, lengths = torch.tensor([found.labels], dtype=torch.int64).view(1, -1), torch.tensor([len(found.labels)])
    path = align(torch.from_numpy(found.ctc)[None], torch.tensor([frames]), labels, lengths)
    if not path.fits:
        needed = int(frames_needed(labels, lengths))
        reason = f"no alignment: {len(found.labels)} labels need {needed} frames, there are {frames}"
        _heat(axes, rows, [*names, "blank"], f"CTC posteriors ({reason})", found.seconds)
        return
    title = f"CTC posteriors and best path (cost {-float(path.log_probs) / frames:.2f} per frame)"
    _heat(axes, rows, [*names, "blank"], title, found.seconds)
    times = (np.arange(frames) + 0.5) * found.seconds / frames
    positions = path.positions[0].numpy()
    spoken = positions != BLANK
    axes.plot(times[spoken], positions[spoken] + 0.5, color=SERIES[2], linewidth=0.8)
    axes.plot(times[spoken], positions[spoken] + 0.5, color=SERIES[2], linestyle="", marker="o", markersize=2.2)


def _image(axes: Axes, values: npt.NDArray[np.floating], seconds: float, origin: Any) -> None:
    axes.imshow(
        values,
        cmap=HEAT,
        vmin=0,
        vmax=1,
        aspect="auto",
        interpolation="none",
        origin=origin,
        extent=(0, seconds, 0, len(values)) if origin == "lower" else (0, seconds, len(values), 0),
    )
