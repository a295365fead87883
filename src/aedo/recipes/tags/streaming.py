"""Tags for models that recognise while someone speaks."""

from __future__ import annotations

from aedo.experiment import Experiment
from aedo.model.chunked import ChunkedConfig
from aedo.recipes.notation import Range
from aedo.recipes.registry import UnfitError, tag

FRAMES = Range(1, 10_000)


@tag(
    "chunkaed{kept:count}_{ahead:count}",
    after=["ebranchformer", "nopeaknorm"],
    kept=FRAMES,
    ahead=Range(0, 10_000),
)
def chunked_model(e: Experiment, kept: int, ahead: int) -> Experiment:
    """Hear speech in chunks: so many encoder frames that count and so many behind them to look ahead (chunkaed20_15).

    The encoder sees a chunk and the kept frames of two before (chunkhist); the decoder attends to one chunk after the
    other and says when one ends.  Training learns which labels end where from the model's own CTC head.  A frame of
    the bases is 60 ms: chunkaed20_15 writes every 1.2 s what was said up to 0.9 s before.  Loudness stays as it is.

    Why: transcripts while someone speaks, at constant cost and memory.  Source: arXiv 2309.08436.
    Reported: 2.44 / 6.38 / 2.66 / 6.28 (chunkaed20_15).
    """
    if e.encoder.kind != "conformer":
        raise UnfitError(f"an encoder of kind {e.encoder.kind} hears utterances whole; leave ebranchformer out")
    before = e.encoder.streaming or ChunkedConfig()
    if e.audio.peak_normalize:
        e = e.with_("audio.peak_normalize", False)
    return e.with_("encoder.streaming", ChunkedConfig(kept=kept, look_ahead=ahead, history=before.history))


@tag("chunkhist{chunks:count}", after=["chunkaed"], chunks=Range(0, 1000))
def chunk_history(e: Experiment, chunks: int) -> Experiment:
    """Chunks before its own that a chunk sees in every layer (chunkhist4; without it two).

    Why: more of the past for short chunks.  Reported: 4 with chunks of 10 frames.  Source: arXiv 2309.08436.
    """
    if e.encoder.kind != "conformer" or e.encoder.streaming is None:
        raise UnfitError("nothing is cut into chunks; name chunkaed20_15 too, or begin with an4-stream")
    return e.with_("encoder.streaming.history", chunks)


@tag("nowfeedback")
def no_weight_feedback(e: Experiment) -> Experiment:
    """The LSTM decoder's attention does not know where it has looked before.

    Why: cheaper, and within a short chunk there is little to lose track of.  Source: arXiv 2309.08436, chunked AED.
    """
    if e.decoder is None or e.decoder.kind != "lstm":
        raise UnfitError("only the attention of an LSTM decoder has weight feedback")
    return e.with_("decoder.weight_feedback", False)
