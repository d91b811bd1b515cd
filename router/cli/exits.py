"""Exit codes, and the errors that end a command with them. docs/cli.md lists them."""

from __future__ import annotations

import click

REFUSED = 1
UNREACHABLE = 3
FORBIDDEN = 4
INTERRUPTED = 130


class RefusedError(click.ClickException):
    """titleshot was asked and said no, or something given was invalid."""

    exit_code = REFUSED


class UnreachableError(click.ClickException):
    """titleshot did not answer, or cannot do it now; another try may succeed."""

    exit_code = UNREACHABLE


class ForbiddenError(click.ClickException):
    """No token, or one without the right to do this."""

    exit_code = FORBIDDEN
