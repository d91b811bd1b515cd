"""What MLflow's errors mean, in words and without credentials: who is not known, which permission is missing. Pure.

A server with accounts (`mlflow server --app-name basic-auth`) answers 401 or 403, and does not say what it asks for.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final

_ADDRESS: Final = re.compile(r" object at 0x[0-9a-f]+")  # another one every time, so every failure would look new
_USERINFO: Final = re.compile(r"(?<!\S)(\w+://)?\S*@")  # to the last @: a password can be told as a path
_SECRET: Final = re.compile(r"((?:password|passwd|token|secret|key)=)(?:'[^']*'|\"[^\"]*\"|[^\s&]+)", re.IGNORECASE)

UNKNOWN_USER: Final = (
    "the registry does not accept the credentials: expected MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD "
    "(or MLFLOW_TRACKING_TOKEN) of one of its users"
)


def refusal(error: Exception, needed: str) -> str | None:
    """What a refusal means; None: it is none.

    Args:
        error: as MLflow's client raised it.
        needed: the permission that the call takes, as "EDIT on the registered model late".
    """
    code = getattr(error, "error_code", None)
    status = getattr(getattr(error, "response", None), "status_code", None)  # artifacts: requests' errors, as they are
    if code == "UNAUTHENTICATED" or status == HTTPStatus.UNAUTHORIZED:
        return UNKNOWN_USER
    if code == "PERMISSION_DENIED" or status == HTTPStatus.FORBIDDEN:
        return f"permission denied by the registry: its user needs {needed}"
    return None


def reason(error: Exception) -> str:
    """The first line of what it says, without credentials: its text can hold those of the registry's URL."""
    lines = str(error).strip().splitlines() or [""]
    text = _ADDRESS.sub("", f"{type(error).__name__}: {lines[0]}")
    return _SECRET.sub(r"\1***", _USERINFO.sub(r"\1***@", text))[:300]


def of_client(method: str, *args: object) -> str:
    """The permission that a method of MlflowClient takes, as `refusal` says it."""
    subject = str(args[0])[:100] if args else ""
    match method:
        case "get_run":
            return f"READ on the experiment of run {subject}"
        case "get_logged_model":
            return f"READ on the experiment of the logged model {subject}"
        case "set_registered_model_alias" | "set_model_version_tag":
            return f"EDIT on the registered model {subject}"
        case "delete_registered_model_alias":
            return f"MANAGE on the registered model {subject}, to delete the alias @{args[-1]}"
    return f"READ on the registered model {subject}"
