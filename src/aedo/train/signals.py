"""Stopping when asked to: SIGTERM and Ctrl-C let the micro-step finish, then the state is saved."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

EXIT_REQUEUE = 75
"""Exit status after a stop on request (EX_TEMPFAIL of sysexits.h): run the same command again to go on."""

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Within the block, SIGTERM and SIGINT set `requested`; the second one acts as usual.

    `patient`: so do all that follow.  Of a launcher and the terminal, each may send one for the same request.
    """

    def __init__(self, *, patient: bool = False) -> None:
        self.requested, self.patient = False, patient

    def __enter__(self) -> StopRequest:
        self._before = {}
        if threading.current_thread() is threading.main_thread():  # elsewhere Python allows no handlers
            self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        return self.requested

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        if not self.patient:
            for each, handler in self._before.items():
                signal.signal(each, handler)
