"""Stopping on request."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from aedo.train.signals import StopRequest


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """As in the foreground: whoever starts tests in the background has them ignore the signal."""
    given = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, given)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_asks_and_the_second_acts_as_usual(number: signal.Signals) -> None:
    usual = signal.getsignal(signal.SIGINT)
    with StopRequest() as stopped:
        assert not stopped()
        os.kill(os.getpid(), number)
        assert stopped()
        assert signal.getsignal(signal.SIGINT) is usual
        if number == signal.SIGINT:
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), number)


def test_the_handlers_are_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
