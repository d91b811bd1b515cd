"""MLflow as commands ask it: one client of one registry, and whatever it raises as one error, without credentials."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from router.control.mlflow_errors import reason, refusal

_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # MLflow's own default tries for minutes where nothing listens
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}

T = TypeVar("T")


class RegisteringError(Exception):
    """Nothing was registered or changed, unless the message says so; it names everything that is wrong."""


def client_of(uri: str) -> Any:  # noqa: ANN401 - MLflow is untyped
    """A client of the registry and the tracking server at this URI. Raises RegisteringError."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient  # noqa: PLC0415 - takes most of a second

    for chatty in ("mlflow", "alembic"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    return asked(lambda: MlflowClient(uri, uri))


def asked(call: Callable[[], T], needed: str = "") -> T:
    """What a call gives.

    Args:
        call: of MLflow's.
        needed: the permission that it takes, which is named where the registry refuses it.

    Raises:
        RegisteringError: whatever the call raised.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow's, of its own code
            return call()
    except Exception as error:  # noqa: BLE001 - MLflow lets through what requests and SQLAlchemy raise
        raise RegisteringError(refusal(error, needed) or f"the registry says: {reason(error)}") from None
