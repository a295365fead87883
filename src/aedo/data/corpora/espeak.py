"""Speech from text with espeak-ng, offline, through its shared library.

The engine keeps state between sentences (phase of its oscillators, random numbers), so the same
calls give the same samples only in a fresh process; the synthetic corpus starts one a chapter.
Source of the interface: espeak-ng's speak_lib.h.
"""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aedo.errors import UserError

_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: samples come through the callback before espeak_Synth returns
_DONT_EXIT = 0x8000
_UTF8 = 1
_RATE, _PITCH, _RANGE = 1, 3, 4
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


class Voice(NamedTuple):
    """A speaker of the synthesiser."""

    name: str
    """espeak-ng's name of accent and variant, such as en-us+f2."""
    pitch: int
    """0 to 99, 50 is the voice's own."""
    pitch_range: int
    """0 (monotone) to 99, 50 is the voice's own."""
    words_per_minute: int


class Espeak:
    """The engine, once per process."""

    def __init__(self) -> None:
        """Raises UserError when the engine is not installed or does not start."""
        try:
            import espeakng_loader

            self._library = ctypes.CDLL(espeakng_loader.get_library_path())
            data = espeakng_loader.get_data_path()
        except (ImportError, OSError) as error:
            raise UserError(
                f"espeak-ng is not available ({error}); the synthetic corpus needs it: pip install 'aedo[synth]'"
            ) from error
        self.rate = int(self._library.espeak_Initialize(_SYNCHRONOUS, 0, str(data).encode(), _DONT_EXIT))
        if self.rate <= 0:
            raise UserError(f"espeak-ng does not start with its data in {data}; reinstall espeakng-loader")
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # breath noise; seeded with the time otherwise
        self._blocks: list[bytes] = []
        self._callback = _CALLBACK(self._receive)  # kept: the library holds only a pointer
        self._library.espeak_SetSynthCallback(self._callback)

    def speak(self, text: str, voice: Voice) -> npt.NDArray[np.float32]:
        """Samples [N] at `self.rate`, full scale is 1.  Raises UserError for a voice espeak-ng does not know."""
        self._blocks.clear()
        if self._library.espeak_SetVoiceByName(voice.name.encode()) != 0:
            raise UserError(f"espeak-ng has no voice {voice.name!r}; reinstall espeakng-loader")
        for parameter, value in (
            (_PITCH, voice.pitch),
            (_RANGE, voice.pitch_range),
            (_RATE, voice.words_per_minute),
        ):
            self._library.espeak_SetParameter(parameter, value, 0)
        line = ctypes.create_string_buffer(text.encode())
        if self._library.espeak_Synth(line, ctypes.c_size_t(len(line)), 0, 1, 0, _UTF8, None, None) != 0:
            raise UserError(f"espeak-ng cannot speak {text!r} as {voice.name}")
        samples = np.frombuffer(b"".join(self._blocks), dtype=np.int16)
        return samples.astype(np.float32) / np.float32(32768)

    def _receive(self, samples: int | None, number: int, events: int | None) -> int:
        if samples and number > 0:
            self._blocks.append(ctypes.string_at(samples, 2 * number))
        return 0
