"""Errors meant for the user: shown without a traceback, exit status 2."""

from __future__ import annotations


class UserError(Exception):
    """Names the file, the utterance or field, and the mend."""
