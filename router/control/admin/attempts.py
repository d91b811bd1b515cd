"""Which requests are attempts to act, and on what. Pure."""

from __future__ import annotations

import re

from router.control.admin.commands import COMMANDS

ACTS = frozenset({*COMMANDS, "gate", "labels", "alerts"})
"""What can be asked for that would change something."""

_PLAIN = {"/labels": "labels", "/webhooks/alertmanager": "alerts"}
_OF_MODEL = re.compile(r"/(?:models/(?P<model>[^/]+)|console/models/(?P<shown>[^/]+)/ask)/(?P<act>[a-z-]+)")


def asked_for(method: str, path: str) -> tuple[str, str] | None:
    """The act, and the name of the model as it was given ("": none is named); None: this would change nothing."""
    if method != "POST":
        return None
    if path in _PLAIN:
        return _PLAIN[path], ""
    found = _OF_MODEL.fullmatch(path)
    if found is None or found["act"] not in ACTS:
        return None
    return found["act"], found["model"] or found["shown"]
