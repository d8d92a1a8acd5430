"""Secrets that stand where something is always secret: in addresses, headers, commands, statements, files and dumps."""

from __future__ import annotations

from typing import Final

from benchmarks.redaction.addresses import ADDRESSES
from benchmarks.redaction.commands import COMMANDS
from benchmarks.redaction.dumps import DUMPS
from benchmarks.redaction.files import FILES
from benchmarks.redaction.headers import HEADERS
from benchmarks.redaction.statements import STATEMENTS

STRUCTURES: Final = ADDRESSES | HEADERS | COMMANDS | STATEMENTS | FILES | DUMPS
"""Templates by kind."""
