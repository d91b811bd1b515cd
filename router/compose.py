"""The only place that constructs and wires. Also the entry of the processes that the supervisor starts.

What a process does not need, it does not import: a proxy starts without MLflow, database and web framework.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from router.control.console import Console
    from router.control.controller import ModelController
    from router.control.follow import Follower
    from router.control.journal import Journal
    from router.control.ledger import Ledger
    from router.control.metrics import Metrics
    from router.control.notifier import Notifier
    from router.control.plane import ControlPlane
    from router.control.publish import Publisher
    from router.control.registry import MlflowRegistry
    from router.link.messages import Up
    from router.settings import Settings

log = logging.getLogger(__name__)

LEASE_SECONDS = 3.0
LEDGER_BUSY_SECONDS = 1.5  # shorter than the lease: a renewal behind a busy writer must not lose it


def serve(settings_path: Path) -> int:
    """`titleshot serve`: until SIGTERM or SIGINT; the exit code.

    Raises:
        SettingsError: the settings are not valid.
    """
    from router.settings import load_settings
    from router.supervisor import AlreadyRunning, Plan, Supervisor

    _log_to_stderr("supervisor")
    settings = load_settings(settings_path)
    plan = Plan(
        settings_path=settings_path.resolve(),
        host=settings.listen.host,
        port=settings.listen.port,
        tls=settings.listen_tls,
        grpc=settings.grpc_listen,
        workers=settings.workers,
        state=settings.state,
        drain_seconds=settings.limits.total_seconds + 1,
    )

    async def run() -> int:
        return await Supervisor(plan).run()

    try:
        return asyncio.run(run())
    except (AlreadyRunning, OSError) as error:
        log.error("%s", error)  # noqa: TRY400 - the text says all
        return 1


def _proxy(fd: str, worker: str, generation: str, link_path: str, routes_file: str, tls: str, grpc: str) -> None:
    import msgspec

    from router.link.endpoint import ListenTls
    from router.link.grpc_place import GrpcListen
    from router.proxy.process import run_proxy

    _log_to_stderr(f"proxy {worker}")
    listen_tls = msgspec.json.decode(tls, type=ListenTls | None)
    listen_grpc = msgspec.json.decode(grpc, type=GrpcListen | None)
    run_proxy(int(fd), int(worker), generation, link_path, routes_file, listen_tls, listen_grpc)


def _control(settings_path: str, state: str, generation: str, lifeline: str) -> None:
    import uvloop

    from router.control.admin import CannotListen

    _log_to_stderr("control")
    try:
        uvloop.run(_run_control(Path(settings_path), Path(state), generation, int(lifeline)))
    except CannotListen as error:  # the supervisor tries again, and the proxies go on serving meanwhile
        log.error("%s", error.strerror)  # noqa: TRY400 - the text says all
        sys.exit(1)


async def _run_control(settings_path: Path, state: Path, generation: str, lifeline: int) -> None:
    """Until SIGTERM, or until the supervisor is gone; ends with an error when the lease is lost."""
    from router.control.admin import serve_admin
    from router.control.journal import Journal
    from router.control.ledger import LedgerUnavailable
    from router.control.metrics import Metrics
    from router.control.notifier import Notifier
    from router.control.others import ask_others
    from router.control.plane import ControlPlane
    from router.control.probe import Prober
    from router.control.publish import Publisher
    from router.control.registry import MlflowRegistry
    from router.control.spool import Spool
    from router.link.server import LinkServer

    stop = _stop_event(lifeline)
    settings, good = _settings(settings_path, state / "settings.json")
    ledger = await _open_ledger(settings, stop)
    holder = f"{os.uname().nodename}:{state}"
    term = await _acquire(ledger, holder, stop)
    if term is None:
        return
    lease = asyncio.create_task(_keep_lease(ledger, holder, term), name="lease")  # records can take long to read
    metrics = Metrics()
    registry = MlflowRegistry(settings.registry)
    prober = Prober()
    journal = Journal(ledger, Spool(state / "spool.jsonl"), term, metrics.ledger)

    def on_message(worker: int, message: Up) -> None:
        plane.on_message(worker, message)

    link = LinkServer(state / "link.sock", generation, on_message)
    publisher = Publisher(state / "routes.json", uuid.uuid4().hex, link)

    async def join(plane: ControlPlane, model: str) -> tuple[ModelController, Follower]:
        return await _model(plane, model, journal, registry, publisher, notifier)

    plane = ControlPlane(settings, ledger, publisher, prober, metrics, join)
    notifier = Notifier(plane.controllers, lambda: plane.settings.notify)
    await plane.join_missing()
    await link.start()
    metrics.watch(
        plane.controllers,
        ready=prober.ready,
        proxies=lambda: link.connected,
        revision=lambda: publisher.current.revision if publisher.current is not None else 0,
        notifications=lambda: notifier.lines,
        unrecorded=plane.ingest.unrecorded,
        pids=lambda: link.pids,
    )
    metrics.watch_skew(plane.skew.status)
    metrics.reloaded(time.time(), ok=good)
    app, console = _admin(plane, settings, metrics)
    running = [
        asyncio.create_task(work, name=name)
        for name, work in {
            "admin": serve_admin(app, settings.admin.host, settings.admin.port),
            "probe": prober.run(),
            "flush": plane.flush_forever(),
            "tick": plane.tick_forever(),
            "prune": plane.prune_forever(),
            "refusals": plane.refusals.run(),
            "checkpoint": plane.checkpoint_forever(),
            "console": console.sample_forever(),
            "loops": plane.watch_loops(),
            "others": ask_others(plane.controllers, lambda: plane.settings, plane.skew.skewed_features),
            "notify": notifier.run(),
            "skew": plane.skew.run(),
            "tracing": plane.tracing.run(),
            "reload": _reload(plane, settings_path, state / "settings.json"),
            "stop": stop.wait(),
        }.items()
    ]
    running.append(lease)
    done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await plane.close()
    await link.close()
    registry.close()
    with contextlib.suppress(LedgerUnavailable):  # the lease runs out by itself
        await ledger.release(holder, term)
    await ledger.close()
    for task in done:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error


def _admin(plane: ControlPlane, settings: Settings, metrics: Metrics) -> tuple[Starlette, Console]:
    """The admin port's application, and the console on it."""
    from router.control.admin import Access, Tokens, admin_app
    from router.control.console import Console

    tokens = Tokens(settings.tokens_path) if settings.tokens_path is not None else None
    access = Access(
        settings.admin.host, settings.admin_hosts, tokens, refused=metrics.access_refused, attempted=plane.attempted
    )
    console = Console(plane, access)
    return admin_app(plane, access, pages=console.routes()), console


def _settings(path: Path, kept_path: Path) -> tuple[Settings, bool]:
    """The settings, or the last good ones while the file is bad; and whether the file is good.

    Raises:
        SettingsError: the file is bad, and there are no earlier ones.
    """
    from router.settings import SettingsError, kept, load_settings

    try:
        settings = load_settings(path)
    except SettingsError as error:
        log.error("%s", error)  # noqa: TRY400 - the text says all
        earlier = kept(kept_path)
        if earlier is None:
            raise
        log.error("the settings are not valid; the last good ones stay")  # noqa: TRY400
        return earlier, False
    _keep(settings, kept_path)
    return settings, True


def _keep(settings: Settings, path: Path) -> None:
    from router.settings import keep

    try:
        keep(settings, path)
    except OSError as error:
        log.error("the settings cannot be kept: %s; they are in force all the same", error)  # noqa: TRY400


async def _model(
    plane: ControlPlane,
    model: str,
    journal: Journal,
    registry: MlflowRegistry,
    publisher: Publisher,
    notifier: Notifier,
) -> tuple[ModelController, Follower]:
    """One model's controller, or that of a lane, brought to where its recorded facts leave it, and its follower.

    Raises:
        LedgerUnavailable: the facts cannot be read, or what was spooled after them is not among them yet.
    """
    from comparator.lane import Lane
    from comparator.policy import Policy
    from comparator.title import Title
    from router.control.controller import ModelController
    from router.control.follow import Follower
    from router.control.resume import resumed
    from router.settings.lanes import alias_of, model_of

    settings, alias = plane.settings.models[model_of(model)], alias_of(model)
    policy, lane = settings.policy(), None
    if alias is not None:
        policy = settings.lane_policy()
        own = plane.controllers[model_of(model)].title
        lane = Lane(alias, lambda: (own.policy.digest, own.gates))
    recorded = {digest: Policy.from_canonical(text) for digest, text in (await plane.ledger.policies()).items()}
    await journal.drain()
    await journal.head(model)  # from now on it is known without the ledger
    since = time.time() - policy.label_retention_seconds
    sticky = settings.assign_by is not None
    seed = secrets.randbits(64)  # ids are the clients' own: none may be chosen to fall on others
    title, facts = await resumed(
        plane.ledger, model, since, lambda: Title(policy, recorded, sticky=sticky, seed=seed, lane=lane)
    )
    if title.champion is None and (served := publisher.served(model_of(model))) is not None:
        # Nothing was ever decided: whoever answered before goes on, until the registry says otherwise.
        title.champion = served if settings.probed_at(served) is not None else None
    if facts:
        rollout = (
            f"version {title.rollout.version} {title.rollout.phase.value}" if title.rollout is not None else "none"
        )
        log.info("%s: %d recorded facts received again: champion %s, rollout %s", model, facts, title.champion, rollout)
    controller = ModelController(model, title, journal, plane.publish, plane.decided, notifier.recorded)
    follower = Follower(controller, settings, registry, plane.prober, plane.metrics, plane.settings.poll_seconds)
    return controller, follower


async def _open_ledger(settings: Settings, stop: asyncio.Event) -> Ledger:
    from router.control.ledger import Ledger, LedgerUnavailable

    while True:
        try:
            return await Ledger.open(settings.ledger, busy_seconds=LEDGER_BUSY_SECONDS)
        except LedgerUnavailable as error:
            log.error("the ledger cannot be opened: %s; proxies serve the last routes", error)  # noqa: TRY400
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 2.0)
            if stop.is_set():
                sys.exit(0)


async def _acquire(ledger: Ledger, holder: str, stop: asyncio.Event) -> int | None:
    waiting = False
    from router.control.ledger import LedgerUnavailable

    while not stop.is_set():
        try:
            term = await ledger.acquire(holder, LEASE_SECONDS)
        except LedgerUnavailable as error:
            log.warning("the lease cannot be asked for: %s", error)
            term = None
        if term is not None:
            return term
        if not waiting:
            log.info("another titleshot leads on this ledger; waiting for its lease")
            waiting = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), LEASE_SECONDS / 6)
    return None


async def _keep_lease(ledger: Ledger, holder: str, term: int) -> None:
    from router.control.ledger import LedgerUnavailable

    while True:
        try:
            await ledger.renew(holder, term, LEASE_SECONDS)
        except LedgerUnavailable as error:
            log.warning("the lease could not be renewed: %s", error)
        await asyncio.sleep(LEASE_SECONDS / 3)


async def _reload(plane: ControlPlane, settings_path: Path, kept_path: Path) -> None:
    from router.control.reload import watch
    from router.settings import Settings

    async for found in watch(settings_path, plane.settings):
        if isinstance(found, Settings):
            await plane.adopt(found)
            _keep(found, kept_path)
            log.info("settings reloaded")
        else:
            log.error("the new settings are not valid; the last good ones stay:\n%s", found)
        plane.metrics.reloaded(time.time(), ok=isinstance(found, Settings))


def _stop_event(lifeline: int) -> asyncio.Event:
    """Set by SIGTERM, SIGINT, or the end of the supervisor, which holds the lifeline's other end."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def supervisor_gone() -> None:
        loop.remove_reader(lifeline)
        stop.set()

    loop.add_reader(lifeline, supervisor_gone)
    return stop


def _log_to_stderr(process: str) -> None:
    logging.basicConfig(
        level=os.environ.get("TITLESHOT_LOG", "INFO").upper(),
        format=f"%(asctime)s %(levelname)s {process}: %(message)s",
        stream=sys.stderr,
    )
    for chatty in ("httpx", "httpcore", "watchfiles", "alembic", "mlflow", "uvicorn"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


if __name__ == "__main__":
    if sys.argv[1] == "proxy":
        _proxy(*sys.argv[2:])
    else:
        _control(*sys.argv[2:])
