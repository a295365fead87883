"""The Experiment: one frozen, typed tree that says all about a training, one child per stage of an utterance's way."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from aedo.augment.labels import SamplingConfig
from aedo.augment.mixup import MixupConfig
from aedo.augment.pipeline import Pipeline
from aedo.augment.resize import FrameDropConfig, ResizeConfig
from aedo.augment.specaugment import SpecAugmentConfig
from aedo.augment.speed import SpeedConfig
from aedo.augment.timewarp import CentreWarpConfig, FlowWarpConfig
from aedo.config import Part
from aedo.data.audio import AudioConfig
from aedo.data.batch import BatchConfig
from aedo.data.loader import LoaderConfig, Reading
from aedo.data.order import OrderConfig
from aedo.data.text import TokenizerConfig
from aedo.features.logmel import LogMelConfig
from aedo.losses.ctc import CtcConfig
from aedo.losses.objective import LossConfig
from aedo.model.aed import AED
from aedo.model.blstm_frontend import BlstmFrontendConfig
from aedo.model.chunked import ChunkedConfig
from aedo.model.chunked_decoder import build_chunked_decoder
from aedo.model.conformer import ConformerConfig
from aedo.model.decoder import Decoder
from aedo.model.ebranchformer import EBranchformerConfig
from aedo.model.frontend import ConvFrontendConfig
from aedo.model.initialize import InitializationConfig
from aedo.model.lstm_decoder import LstmDecoderConfig
from aedo.model.transformer_decoder import TransformerDecoderConfig
from aedo.search.config import OF_CTC, OF_DECODER, SearchConfig
from aedo.train.config import TrainConfig


class AugmentConfig(Part):
    """In training; of the features' parts each one is applied to what the one above it gives."""

    labels: SamplingConfig | None = None
    """Labels of a text drawn anew at every reading; None: always those that the tokenizer gives."""
    speed: SpeedConfig | None = SpeedConfig()
    mixup: MixupConfig | None = None
    resize: ResizeConfig | None = None
    frame_drop: FrameDropConfig | None = None
    time_warp: Annotated[CentreWarpConfig | FlowWarpConfig, Field(discriminator="kind")] | None = None
    specaugment: SpecAugmentConfig | None = SpecAugmentConfig()

    def build(self) -> Pipeline:
        """What happens to the features; labels are drawn and samples perturbed in the loader."""
        parts = {name: getattr(self, name) for name in type(self).model_fields if name not in ("labels", "speed")}
        return Pipeline({name: part.build() for name, part in parts.items() if part is not None})


def _kind_of_decoder(value: Any) -> Any:
    """Trees written before there was a choice of decoders name no kind."""
    return {"kind": "lstm", **value} if isinstance(value, dict) else value


def _kind_of_frontend(value: Any) -> Any:
    """Trees written before there was a choice of front-ends name no kind."""
    return {"kind": "conv", **value} if isinstance(value, dict) else value


def _kind_of_encoder(value: Any) -> Any:
    """Trees written before there was a choice of encoders name no kind."""
    return {"kind": "conformer", **value} if isinstance(value, dict) else value


FrontendConfig = Annotated[ConvFrontendConfig | BlstmFrontendConfig, Field(discriminator="kind")]
EncoderConfig = Annotated[ConformerConfig | EBranchformerConfig, Field(discriminator="kind")]
DecoderConfig = Annotated[LstmDecoderConfig | TransformerDecoderConfig, Field(discriminator="kind")]


class Experiment(Part):
    audio: AudioConfig = AudioConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    order: OrderConfig = OrderConfig()
    batch: BatchConfig = BatchConfig()
    loader: LoaderConfig = LoaderConfig()
    features: LogMelConfig = LogMelConfig()
    augment: AugmentConfig = AugmentConfig()
    frontend: Annotated[FrontendConfig, BeforeValidator(_kind_of_frontend)] = ConvFrontendConfig()
    encoder: Annotated[EncoderConfig, BeforeValidator(_kind_of_encoder)] = ConformerConfig()
    ctc: CtcConfig = CtcConfig()
    decoder: Annotated[DecoderConfig | None, BeforeValidator(_kind_of_decoder)] = LstmDecoderConfig()
    initialization: InitializationConfig = InitializationConfig()
    loss: LossConfig = LossConfig()
    train: TrainConfig = TrainConfig()
    search: SearchConfig = SearchConfig()

    @model_validator(mode="after")
    def _check(self) -> Experiment:
        heads = self.encoder.attention.heads
        if self.encoder.dim % heads:
            raise ValueError(f"encoder.dim {self.encoder.dim} is not divisible by encoder.attention.heads {heads}")
        too_high = [layer for layer in self.ctc.layers if not 1 <= layer <= self.encoder.layers]
        if too_high:
            raise ValueError(f"ctc.layers {too_high} lie outside the encoder's layers 1 to {self.encoder.layers}")
        if isinstance(self.ctc.scales, tuple) and len(self.ctc.scales) != len(self.ctc.layers):
            raise ValueError(f"ctc.scales has {len(self.ctc.scales)} values for {len(self.ctc.layers)} ctc.layers")
        if self.decoder is None and not self.ctc.layers:
            raise ValueError("nothing to train: there is neither a decoder nor a CTC head")
        kind = self.search.kind
        if kind in OF_DECODER and self.decoder is None:
            raise ValueError(f"search.kind {kind} needs a decoder: there is none")
        if kind in OF_CTC and not self.ctc.layers:
            raise ValueError(f"search.kind {kind} needs a CTC head: ctc.layers is empty")
        self._check_streaming()
        audio, features = self.audio.sample_rate, self.features.sample_rate
        if audio != features:
            raise ValueError(f"features.sample_rate {features} differs from audio.sample_rate {audio}")
        if self.train.sync_parameters is not None and self.train.devices == 1:
            raise ValueError(
                f"train.sync_parameters {self.train.sync_parameters} averages the parameters of several devices, "
                "train.devices is 1; add mgpu2 (mgpu4, ...) to the name"
            )
        sampling, labels = self.augment.labels, self.tokenizer.kind
        if sampling is not None and labels == "char":
            raise ValueError(
                "augment.labels has nothing to draw: characters spell a text in one way; use spm10k or bpe1k"
            )
        if sampling is not None and sampling.kind == "unigram" and labels != "unigram":
            raise ValueError(
                "augment.labels.kind unigram draws by the probabilities of a unigram model, "
                f"tokenizer.kind is {labels}; use spm10k or the like, or bpesample001"
            )
        return self

    def _check_streaming(self) -> None:
        """ValueError where a part cannot do what it does chunk by chunk."""
        if self.streaming is None:
            return
        if self.frontend.kind != "conv":
            raise ValueError(f"encoder.streaming: a front-end of kind {self.frontend.kind} hears utterances whole")
        normalize, decoder = self.features.normalize, self.decoder
        if normalize is not None and normalize.kind == "utterance":
            raise ValueError("encoder.streaming: features.normalize of kind utterance hears all of it first; use batch")
        if decoder is None:
            return
        if decoder.kind != "lstm":
            raise ValueError(
                f"encoder.streaming: a decoder of kind {decoder.kind} attends to whole utterances; use the LSTM "
                "decoder, or none (ctconly)"
            )
        if decoder.second != "none":
            raise ValueError(f"encoder.streaming: decoder.second {decoder.second} is not there for chunks")
        if self.search.kind == "joint_time":
            raise ValueError("encoder.streaming: search.kind joint_time is not there for chunks; use joint")
        if not self.ctc.layers:
            raise ValueError("encoder.streaming: a CTC head tells which labels end in which chunk; ctc.layers is empty")

    @property
    def streaming(self) -> ChunkedConfig | None:
        """How a streaming model cuts its features; None: it hears utterances whole."""
        return self.encoder.streaming if self.encoder.kind == "conformer" else None

    def _build_decoder(self, dim: int, vocabulary: int) -> Decoder[Any, Any] | None:
        if self.decoder is None:
            return None
        if self.streaming is not None and self.decoder.kind == "lstm":
            return build_chunked_decoder(self.decoder, dim, vocabulary, self.streaming.kept)
        return self.decoder.build(dim, vocabulary)

    def reading(self) -> Reading:
        """The part of the tree that says how utterances become batches."""
        return Reading(
            self.audio,
            self.order,
            self.batch,
            self.loader,
            self.augment.speed,
            ctc=bool(self.ctc.layers),
            ctc_eos=self.ctc.eos,
            sampling=self.augment.labels,
        )

    def build_model(self, vocabulary: int) -> AED:
        """A model with fresh parameters from torch's random state.  `vocabulary`: labels with EOS, without blank."""
        dim = self.encoder.dim
        model = AED(
            self.features.build(),
            self.frontend.build(self.features.dim, dim, self.encoder.dropout),
            self.encoder.build(),
            self.ctc.build(dim, vocabulary),
            self._build_decoder(dim, vocabulary),
            self.streaming,
        )
        self.initialization(model)
        return model
