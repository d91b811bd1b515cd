"""The commands' way to a running titleshot: its admin port, over HTTP."""

from __future__ import annotations

import contextlib
import difflib
import functools
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import quote, urlsplit

import click
import httpx

from router.cli.exits import ForbiddenError, RefusedError, UnreachableError

DEFAULT_ADMIN = "http://127.0.0.1:9901"
TIMEOUT_SECONDS = 10.0
COMPLETION_SECONDS = 1.0
STREAM_SECONDS = 30.0
"""Without a byte: a recording has an empty line every few seconds at least."""

P = ParamSpec("P")
R = TypeVar("R")


class Unavailable(UnreachableError):
    """The admin port answers, but what it needs is away (503)."""

    def __init__(self, message: str, retry_after_seconds: float | None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Admin:
    """A client of one admin port.

    Args:
        url: http(s)://host:port.
        token: sent as a bearer token; None: none is sent.
        timeout_seconds: how long an answer may take.
    """

    def __init__(self, url: str, token: str | None = None, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self.url = url
        headers = {"accept": "application/json"}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        # No proxy and no .netrc from the environment: the token goes to the address that was asked for, nowhere else.
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_seconds, trust_env=False)

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def status(self) -> dict[str, Any]:
        """GET /status."""
        return self._answer("GET", "/status")

    def model(self, name: str) -> dict[str, Any]:
        """GET /models/{name}: the status of one model."""
        return self._of_model("GET", name, "")

    def history(self, name: str, limit: int) -> dict[str, Any]:
        """GET /models/{name}/history."""
        return self._of_model("GET", name, "/history", params={"limit": limit})

    def production(self, name: str) -> dict[str, Any]:
        """GET /models/{name}/production."""
        return self._of_model("GET", name, "/production")

    def refused(self, name: str, limit: int) -> dict[str, Any]:
        """GET /models/{name}/refused."""
        return self._of_model("GET", name, "/refused", params={"limit": limit})

    def act(self, name: str, act: str, **given: str | int | None) -> dict[str, Any]:
        """POST /models/{name}/{act}; the decision that was made."""
        body = {key: value for key, value in given.items() if value not in ("", None)}
        return self._of_model("POST", name, f"/{act}", json=body)

    def gate(self, name: str, report: dict[str, Any]) -> dict[str, Any]:
        """POST /models/{name}/gate: the decision that takes note of a report."""
        return self._of_model("POST", name, "/gate", json=report)

    def labels(self, body: bytes) -> dict[str, Any]:
        """POST /labels: NDJSON; what was accepted and what was not."""
        return self._answer(
            "POST", "/labels", content=body, headers={"content-type": "application/x-ndjson"}, accept_status=(422,)
        )

    @contextlib.contextmanager
    def stream(self, name: str, path: str, params: dict[str, str]) -> Iterator[Iterator[bytes]]:
        """GET /models/{name}{path}: the answer as it comes; what breaks off ends without a word."""
        url = f"/models/{quote(name, safe='')}{path}"
        try:
            with self._http.stream("GET", url, params=params, timeout=STREAM_SECONDS) as response:
                if not response.is_success:
                    response.read()
                    raise self._refusal(response, url)
                yield _pieces(response)
        except UnknownModel as error:
            raise RefusedError(error.message + self._other_models(name)) from None
        except httpx.HTTPError as error:
            raise UnreachableError(
                f"cannot reach titleshot at {self.url}: {str(error) or type(error).__name__}"
            ) from None

    def _of_model(self, method: str, name: str, path: str, **request: Any) -> dict[str, Any]:  # noqa: ANN401
        try:
            return self._answer(method, f"/models/{quote(name, safe='')}{path}", **request)
        except UnknownModel as error:
            raise RefusedError(error.message + self._other_models(name)) from None

    def _other_models(self, name: str) -> str:
        try:
            known = sorted(self.status().get("models", {}))
        except click.ClickException:
            return ""
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(known)}" if known else ""

    def _answer(
        self,
        method: str,
        path: str,
        accept_status: tuple[int, ...] = (),
        **request: Any,  # noqa: ANN401 - as httpx takes it
    ) -> dict[str, Any]:
        try:
            response = self._http.request(method, path, **request)
        except httpx.TimeoutException:
            raise UnreachableError(f"{self.url} did not answer within {TIMEOUT_SECONDS:.0f} s") from None
        except httpx.HTTPError as error:
            raise UnreachableError(
                f"cannot reach titleshot at {self.url}: {str(error) or type(error).__name__}. "
                "Is `titleshot serve` running? --admin or TITLESHOT_ADMIN names another address."
            ) from None
        if response.is_success or response.status_code in accept_status:
            return self._mapping(response)
        raise self._refusal(response, path)

    def _mapping(self, response: httpx.Response) -> dict[str, Any]:
        with contextlib.suppress(ValueError):
            data = response.json()
            if isinstance(data, dict):
                return data
        raise UnreachableError(f"{self.url} does not answer as the admin port of titleshot does")

    def _refusal(self, response: httpx.Response, path: str) -> click.ClickException:
        try:
            message = str(response.json()["error"]["message"])
        except (ValueError, KeyError, TypeError):
            return UnreachableError(
                f"{self.url} does not answer as the admin port of titleshot does (HTTP {response.status_code})"
            )
        message = "".join(sign if sign.isprintable() else " " for sign in message)
        match response.status_code:
            case 401 | 403:
                return ForbiddenError(f"{message} (a token is taken from --token-file or TITLESHOT_TOKEN)")
            case 404 if path.startswith("/models/"):
                return UnknownModel(message)
            case 503:
                return Unavailable(message, _retry_after(response))
            case status if status >= 500:
                return UnreachableError(f"titleshot could not do it: {message}")
            case _:
                return RefusedError(message)


def _pieces(response: httpx.Response) -> Iterator[bytes]:
    with contextlib.suppress(httpx.HTTPError):
        yield from response.iter_bytes()


class UnknownModel(RefusedError):
    """No model of this name."""


def known_models(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of models that begin so, for the completion of shells; none where titleshot does not answer soon."""
    found: list[str] = []

    def ask() -> None:
        with contextlib.suppress(click.ClickException, httpx.InvalidURL, UnicodeError):
            url = _url(str(ctx.params.get("admin_url") or os.environ.get("TITLESHOT_ADMIN") or DEFAULT_ADMIN))
            token_file = ctx.params.get("token_file")
            token = _token(token_file if isinstance(token_file, Path) else None)
            with _closing(Admin(url, token, COMPLETION_SECONDS)) as admin:
                models = admin.status().get("models")
            found.extend(sorted(models) if isinstance(models, dict) else ())

    asking = threading.Thread(target=ask, daemon=True)  # a server can drip: its whole answer has a deadline
    asking.start()
    asking.join(COMPLETION_SECONDS)
    return [] if asking.is_alive() else [name for name in found if name.startswith(incomplete)]


def model_argument(*, required: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """MODEL, as a command's argument."""
    return click.argument("model", required=required, shell_complete=known_models)


def admin_command(command: Callable[Concatenate[Admin, P], R]) -> Callable[..., R]:
    """Give a command --admin and --token-file, and the client that they make as its first argument."""

    @click.option(
        "--admin",
        "admin_url",
        envvar="TITLESHOT_ADMIN",
        default=DEFAULT_ADMIN,
        show_default=True,
        show_envvar=True,
        metavar="URL",
        help="Admin port of a running titleshot.",
    )
    @click.option(
        "--token-file",
        type=click.Path(path_type=Path, dir_okay=False, exists=True),
        help="File that holds the token; else TITLESHOT_TOKEN does. Never on the command line: others can see that.",
    )
    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        url = str(kwargs.pop("admin_url"))
        token_file = kwargs.pop("token_file")
        admin = Admin(_url(url), _token(token_file if isinstance(token_file, Path) else None))
        with _closing(admin):
            return command(admin, *args, **kwargs)

    return wrapped


@contextlib.contextmanager
def _closing(admin: Admin) -> Iterator[Admin]:
    try:
        yield admin
    finally:
        admin.close()


def _url(written: str) -> str:
    url = written if "://" in written else f"http://{written}"
    try:
        parts = urlsplit(url)
        legal = parts.scheme in ("http", "https") and parts.hostname and not parts.username and parts.port != 0
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL):  # names that are none (IDNA) are ValueErrors
        legal = False
    if not legal:
        raise click.UsageError(f"expected --admin http://host:port, not {written!r}")
    return url.rstrip("/")


def _token(file: Path | None) -> str | None:
    if file is None:
        token = os.environ.get("TITLESHOT_TOKEN", "")
    else:
        try:
            token = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise click.UsageError(f"the token file cannot be read: {error}") from None
    token = token.strip()
    if any(not "!" <= sign <= "~" for sign in token):
        raise click.UsageError("expected one token, without spaces and line breaks within")
    return token or None


def _retry_after(response: httpx.Response) -> float | None:
    try:
        return max(0.0, min(60.0, float(response.headers["retry-after"])))
    except (KeyError, ValueError):
        return None
