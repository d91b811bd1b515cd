"""The console: pages on the admin port that show what goes on, and on which people act."""

from router.control.console.app import Console

__all__ = ["Console"]
