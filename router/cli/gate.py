"""`titleshot gate`: the policy's checks against a staged server of a version, before its rollout may start."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from comparator.guardrail import Verdict
from comparator.policy import Policy
from router.cli.admin import Admin, admin_command
from router.cli.exits import REFUSED, RefusedError, UnreachableError
from router.cli.output import console, json_option, plain, print_json
from router.cli.settings_file import read_model, settings_option
from router.control.registry import RegistryUnavailable, UnknownModel
from router.link.endpoint import Tls, place_of
from router.protocols.plain_json import PlainJson
from router.protocols.protocol import Questions
from router.protocols.select import protocol
from router.registering.hashing import DataError, data_hash
from router.registering.mlflow_calls import RegisteringError
from router.registering.tables import TableError
from router.settings import ModelSettings, SettingsError, load_policy
from router.staging import report as reports
from router.staging.ask import Server
from router.staging.check import Check
from router.staging.holdout import HoldoutError, read_holdout
from router.staging.registered import ModelRegistry
from router.staging.report import Report
from router.staging.run import Subject, run_checks

READY_SECONDS = 15.0
_PATH = click.Path(path_type=Path, dir_okay=False)


@dataclass(frozen=True)
class Asked:
    """What was asked for, with what the settings say.

    Args:
        model: its name here.
        registered: its name in the registry.
        version: to be checked.
        registry: URI of MLflow.
        policy: whose checks are run.
        settings: of the model.
        staging: URL of the staged server.
        champion_url: of the champion's server, where it was given.
        data: the holdout file.
        label: its label's column.
    """

    model: str
    registered: str
    version: int
    registry: str
    policy: Policy
    settings: ModelSettings
    staging: str
    champion_url: str | None
    data: Path
    label: str


@click.command()
@click.argument("model")
@click.argument("version", type=click.IntRange(min=1))
@click.option("--staging", required=True, metavar="URL", help="The staged server of that version.")
@click.option("--data", required=True, type=_PATH, help="Labelled holdout rows, CSV or Parquet.")
@click.option("--label", default="label", show_default=True, metavar="COLUMN", help="The label's column in it.")
@settings_option("The settings that have MODEL: registry, policy, the champion's endpoint.")
@click.option("--policy", "policy_path", type=_PATH, help="A policy file, instead of the settings' policy.")
@click.option("--champion-url", metavar="URL", help="The champion's server. Default: its endpoint in the settings.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Write the report there, too (JSON, HTML)."
)
@click.option("--no-submit", is_flag=True, help="Only print: the report goes neither to MLflow nor to the ledger.")
@json_option
@admin_command
def gate(  # noqa: PLR0913 - the options of a command
    admin: Admin,
    model: str,
    version: int,
    *,
    staging: str,
    data: Path,
    label: str,
    settings_path: Path,
    policy_path: Path | None,
    champion_url: str | None,
    out: Path | None,
    no_submit: bool,
    as_json: bool,
) -> None:
    """Check VERSION of MODEL on a staged server as the policy asks, and hand the report in.

    Contract, figures on holdout rows beside the champion's, latency at a rate. The report becomes an artifact of the
    version's run in MLflow, and goes into the ledger of a running titleshot: with `gate: required` no rollout starts
    without a PASS for this version, this policy and the present champion.

    Exit code 0: PASS, and handed in. 1: FAIL or INCONCLUSIVE, or it was refused. 3: a server or the registry does not
    answer: there is no report.
    """
    settings, of_model = read_model(settings_path, model)
    asked = Asked(
        model=model,
        registered=of_model.registered_model,
        version=version,
        registry=settings.registry,
        policy=_policy(policy_path) if policy_path is not None else of_model.policy(),
        settings=of_model,
        staging=_url("--staging", staging),
        champion_url=_url("--champion-url", champion_url) if champion_url is not None else None,
        data=data,
        label=label,
    )
    state = None if no_submit else admin.model(model)
    if state is not None and state.get("policy_digest") != asked.policy.digest:
        raise RefusedError(
            f"the titleshot at {admin.url} has another policy for {model} than these settings "
            f"({str(state.get('policy_digest'))[:12]}, not {asked.policy.digest[:12]}): no report would count there"
        )

    try:
        registry = ModelRegistry(asked.registry)
        report, run_id = _checked(registry, asked)
        told = report.as_data()
        if out is not None:
            _write(out, report)
        if not no_submit:
            told["artifact"] = _kept(registry, asked, report, run_id)
            told["decision"] = _submitted(admin, asked, report)
    except RegisteringError as error:
        raise UnreachableError(plain(error)) from None
    if as_json:
        print_json(told)
    else:
        _print(report)
        _print_where(told, out, report)
    if report.verdict is not Verdict.PASS:
        sys.exit(REFUSED)


def _checked(registry: ModelRegistry, asked: Asked) -> tuple[Report, str | None]:
    """The report, and the version's run."""
    try:
        return asyncio.run(_check(registry, asked))
    except UnknownModel as error:
        raise RefusedError(plain(error)) from None
    except RegistryUnavailable as error:
        raise UnreachableError(f"the registry cannot be read: {plain(error)}") from None
    except (HoldoutError, TableError, DataError) as error:
        raise RefusedError(plain(error)) from None


async def _check(registry: ModelRegistry, asked: Asked) -> tuple[Report, str | None]:
    aliases, facts = await registry.aliases_and_facts(asked.registered, asked.version)
    if aliases.champion == asked.version:
        raise RefusedError(f"version {asked.version} of {asked.registered} is the champion: it needs no gate")
    found = registry.read(asked.registered, asked.version, facts)
    checks: Sequence[Check]
    if found.columns is None:
        checks, hashed = [Check("contract.signature", Verdict.INCONCLUSIVE, found.trouble)], data_hash(asked.data)
    else:
        coding = asked.settings.coding
        holdout = read_holdout(asked.data, asked.label, found.columns.types, coding)
        hashed = holdout.data_hash
        questions = _questions(asked, found.columns.types)
        subject = Subject(asked.policy, found.columns, questions, found.example, facts.offline, coding)
        async with contextlib.AsyncExitStack() as open_servers:
            servers: list[Server | None] = []
            for who, url in (("staged server", asked.staging), ("champion", _champion_url(asked, aliases.champion))):
                server = _server(who, url, questions.path, asked.settings) if url is not None else None
                if server is not None:
                    open_servers.push_async_callback(server.close)
                    if not await server.ready(READY_SECONDS):
                        raise UnreachableError(f"the {who} at {url} does not say that it is ready: there is no report")
                servers.append(server)
            staged, champion = servers
            if staged is None:
                raise AssertionError
            with _progress() as tell:
                checks = await run_checks(subject, holdout, staged, champion, tell)
    report = Report(
        model=asked.registered,
        version=asked.version,
        champion=aliases.champion,
        policy_digest=asked.policy.digest,
        data_hash=hashed,
        staging=asked.staging,
        made_by=f"titleshot {importlib.metadata.version('titleshot')}",
        at=time.time(),
        checks=tuple(checks),
    )
    return report, found.run_id


def _questions(asked: Asked, types: Mapping[str, str]) -> Questions:
    """How the model's protocol asks; a gate that cannot ask has nothing to say."""
    settings = asked.settings
    found = protocol(settings.protocol).questions(settings.served_as, types, settings.asking)
    if found is None:
        says = "it does not say what a request looks like"
        if settings.protocol == PlainJson.name:
            says = "expected request.rows and predict_path in the model's settings, which say what a request looks like"
        raise RefusedError(
            f"the gate cannot ask by the protocol {settings.protocol}: {says}. "
            f"There is no report; with `gate: offline` or `gate: off` a rollout of {asked.model} needs none"
        )
    return found


def _server(who: str, url: str, path: str, settings: ModelSettings) -> Server:
    try:
        tls = settings.tls if place_of(url).scheme == "https" else Tls()
        return Server(url, path, settings.ready_path, settings.reader, tls)
    except OSError as error:
        raise RefusedError(f"the {who} at {url}: {plain(error)}") from None


def _champion_url(asked: Asked, champion: int | None) -> str | None:
    """Where the champion is asked; None: there is none, or no endpoint is known."""
    if champion is None:
        return None
    url = asked.champion_url or asked.settings.endpoint_of(champion)
    if url == asked.staging:
        raise RefusedError(f"{url} is the champion's server: --staging has to be that of version {asked.version}")
    return url


# ---- what becomes of the report


def _kept(registry: ModelRegistry, asked: Asked, report: Report, run_id: str | None) -> str | None:
    """The report's path among the artifacts of the version's run; None: it could not be kept, which is said."""
    if run_id is None:
        click.echo(f"version {asked.version} has no run in MLflow: the report is no artifact there", err=True)
        return None
    data, path = report.as_data(), f"titleshot/{report.name}"
    files = {f"{path}.json": reports.as_json(data), f"{path}.html": reports.as_html(data)}
    said = (
        f"{report.verdict.name} against version {report.champion}, policy {report.policy_digest[:12]}, "
        f"sha256 {reports.digest_of(data)}, runs:/{run_id}/{path}.json"
    )
    try:
        registry.keep(asked.registered, asked.version, run_id, files, said)
    except RegisteringError as error:
        click.echo(f"the report could not be kept in MLflow: {plain(error)}", err=True)
        return None
    return f"runs:/{run_id}/{path}.json"


def _submitted(admin: Admin, asked: Asked, report: Report) -> dict[str, Any] | None:
    """The recorded decision; None: there is no champion, so nothing that it could be recorded against."""
    if report.champion is None:
        click.echo("there is no champion: the report is not handed in", err=True)
        return None
    return admin.gate(asked.model, report.as_data())


def _write(out: Path, report: Report) -> None:
    data = report.as_data()
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{report.name}.json").write_text(reports.as_json(data), encoding="utf-8")
        (out / f"{report.name}.html").write_text(reports.as_html(data), encoding="utf-8")
    except OSError as error:
        raise RefusedError(f"{out}: {error.strerror}") from None


# ---- for people


def _print(report: Report) -> None:
    against = f"against version {report.champion}" if report.champion is not None else "without a champion"
    click.echo(f"{plain(report.model)}: version {report.version} {against}, policy {report.policy_digest[:12]}")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("check", "verdict"):
        table.add_column(heading, no_wrap=True)
    table.add_column("what was found", overflow="fold")
    for check in report.checks:
        table.add_row(*(Text(plain(cell)) for cell in (check.name, check.verdict.name, check.reason)))
    console().print(table)
    click.echo(f"the gate says {report.verdict.name}")


def _print_where(told: dict[str, Any], out: Path | None, report: Report) -> None:
    if told.get("artifact"):
        click.echo(f"report: {plain(told['artifact'])}")
    if out is not None:
        click.echo(f"report: {out / report.name}.json, .html")
    if told.get("decision"):
        click.echo(f"recorded: {plain(told['decision'].get('reason', ''))[:200]}")


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Where the run is, on a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with Console(stderr=True).status("gate") as shown:
        yield lambda text: shown.update(f"gate: {text}")


def _policy(path: Path) -> Policy:
    try:
        return load_policy(path)
    except SettingsError as error:
        raise RefusedError(f"the policy is not valid:\n{error}") from None


def _url(option: str, written: str) -> str:
    try:
        place_of(written)
    except ValueError as error:
        raise click.UsageError(f"{option}: {error}") from None
    return written.rstrip("/")
