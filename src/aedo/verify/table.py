"""A verification on the terminal: a line a station, as soon as it is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from aedo.verify.check import Check
from aedo.verify.verification import Verification


def print_table(verification: Verification, *, every: bool, show: Callable[[str], None] = print) -> bool:
    """Print all checks; whether all are OK.  Without `every`, gradients that are equal share one line."""
    checks: list[Check] = []

    def seen() -> Iterator[Check]:
        for check in verification.checks():
            checks.append(check)
            yield check

    for number, check in enumerate(seen() if every else _gathered(seen())):
        if not number:
            show(f"{'':36} {'largest relative difference':>34}  {'bound':>7}")
        verdict = "OK" if check.ok else "FAIL"
        note = f"  {check.note}" if check.note else ""
        show(f"{check.part:19} {check.station:38} {check.difference:12.2e}  {check.bound:7.0e}  {verdict}{note}")
    left = verification.left_over()
    if left:
        show(f"not compared, aedo has no counterpart: {', '.join(left)}")
    failed = [check for check in checks if not check.ok]
    show(f"{len(checks)} stations compared, {len(failed)} failed: {'FAIL' if failed else 'OK'}")
    return not failed


def _gathered(checks: Iterator[Check]) -> Iterator[Check]:
    """Equal gradients of single parameters, as the one that differs most; equal lengths not at all; the rest as is."""
    equal: list[Check] = []
    for check in checks:
        if check.station.startswith("S:") and check.ok:
            continue
        if check.station.startswith("grad/") and check.ok:
            equal.append(check)
            continue
        if equal:
            yield _worst(equal)
            equal = []
        yield check
    if equal:
        yield _worst(equal)


def _worst(checks: list[Check]) -> Check:
    worst = max(checks, key=lambda check: check.difference / check.bound)
    station = f"grad/* of {len(checks)} parameters"
    return Check(worst.part, station, worst.difference, worst.bound, f"worst: {worst.station.removeprefix('grad/')}")
