"""Findings, as the checks of this room write them."""

from __future__ import annotations

from launchkit.errors import Finding


def error(code: str, message: str, remedy: str) -> Finding:
    """Return a finding that is certainly wrong."""
    return Finding(code, "error", message, remedy)


def warning(code: str, message: str, remedy: str) -> Finding:
    """Return a finding that may be meant."""
    return Finding(code, "warning", message, remedy)
