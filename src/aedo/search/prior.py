"""The prior of the labels: what CTC says on average, whatever the audio.

RUN/priors/LABEL.safetensors holds that of a checkpoint: `log_prior` [V], the mean posterior of the last CTC head over
frames of training data, blank left out and the rest normalised; its description says what data, and which weights.
B batch, T frames, V labels of the vocabulary.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from aedo.conventions import EOS
from aedo.data.audio import AudioProblem, samples_of
from aedo.data.manifest import Manifest
from aedo.errors import UserError
from aedo.files import explained
from aedo.nn.masks import length_mask
from aedo.run import Checkpoint, RunFolder
from aedo.search.recognize import Recognizer, batches

FOLDER = "priors"
SPLIT = "train"
UTTERANCES = 1000
"""At most so many, evenly spread over the training data: a mean over some hundred thousand frames is settled."""


def prior_path(run: RunFolder, checkpoint: Checkpoint) -> Path:
    return run.path / FOLDER / f"{checkpoint.label}.safetensors"


def prior_of(recognizer: Recognizer, run: RunFolder, checkpoint: Checkpoint, *, most: int = UTTERANCES) -> Tensor:
    """[V] float32, log; 0 for EOS, which is no symbol of CTC.  From the run folder, or computed and put there.

    UserError where it is not there and the training data is not either.
    """
    path, digest = prior_path(run, checkpoint), _digest(checkpoint)
    found = _read(path, digest)
    if found is None:
        data = Path(run.info.get("data") or "?")
        try:
            manifest = Manifest.open(data, SPLIT)
        except UserError as error:
            raise UserError(
                f"{path}: no prior of these weights there, nor the training data to compute it from ({error}); "
                "set prior_scale to 0, or bring the data back"
            ) from None
        mean, utterances = mean_posterior(recognizer, run, manifest, most)
        found = log_prior(mean)
        about = {"checkpoint_digest": digest, "data": str(data.resolve()), "split": SPLIT, "utterances": utterances}
        with explained(path, "write the prior"):
            path.parent.mkdir(exist_ok=True)
            part = path.with_name(path.name + ".part")
            save_file({"log_prior": found}, part, {"about": json.dumps(about)})
            part.replace(path)
    return found


def log_prior(mean: Tensor) -> Tensor:
    """[V] from the mean posterior [V + 1]: blank and EOS left out, the rest normalised; 0 for EOS."""
    labels = mean.double()[:-1].clone()
    labels[EOS] = 0.0
    found = (labels / labels.sum()).clamp_min(1e-30).log()
    found[EOS] = 0.0
    return found.float()


@torch.inference_mode()
def mean_posterior(recognizer: Recognizer, run: RunFolder, data: Manifest, most: int) -> tuple[Tensor, int]:
    """[V + 1] float64 on the CPU, over the frames of at most `most` utterances; and how many those were."""
    audio, config = run.experiment().audio, recognizer.config
    step = max(1, -(-len(data) // most))
    cuts = [data.cut(i) for i in range(0, len(data), step)]
    total, frames, used = torch.zeros((), dtype=torch.float64), 0, 0
    for chosen in batches([cut.num_samples for cut in cuts], config.max_samples, min(config.max_utterances, 32)):
        samples = []
        for i in chosen:
            try:
                samples.append(samples_of(cuts[i], audio))
            except AudioProblem:  # the training left it out, too
                continue
        batch = recognizer.encode(samples) if samples else None
        if batch is None:
            continue
        posterior = recognizer.model.ctc_log_probs(batch.encoded).double().exp()  # [B, T, V + 1]
        valid = length_mask(batch.encoded.lengths, posterior.shape[1], posterior.device)
        total = total + (posterior * valid[..., None]).sum((0, 1)).cpu()
        frames, used = frames + int(batch.encoded.lengths.sum()), used + len(batch.audible)
    if not frames:
        raise UserError(f"{run.path}: nothing to hear in its training data: there is no prior to compute")
    return total / frames, used


def _read(path: Path, digest: str) -> Tensor | None:
    """None where there is none of these weights."""
    if not path.is_file():
        return None
    try:
        with safe_open(str(path), "pt") as file:
            about = json.loads(file.metadata()["about"])
            return file.get_tensor("log_prior") if about["checkpoint_digest"] == digest else None
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not a prior ({error}); remove it, and it is computed anew") from None


def _digest(checkpoint: Checkpoint) -> str:
    return hashlib.sha256(checkpoint.describe().encode()).hexdigest()[:16]
