"""The commands against a real admin port; behind it a control plane of our own, so that every answer can be had."""

import asyncio
import contextlib
import json
import threading
import time

import pytest
from click.testing import CliRunner

from comparator.events import AliasMove, CommandKind, Decision, DecisionKind, request_key
from comparator.title import Refused
from router.cli.main import main
from router.control.admin import Access, Tokens, admin_app, serve_admin
from router.control.admin.actors import ActorRole, new_token
from router.control.admin.operations import UnknownModel
from router.control.ledger import LedgerUnavailable, RefusedAct
from router.control.produced import told_reigns
from router.protocols.coding import Coding

BOUND_SECONDS = 20


class Plane:
    """An `Operations` in memory."""

    def __init__(self):
        self.refused_acts = []
        self.names = ["late-arrival"]
        self.recorded = []  # (request_hi, request_lo, row, label)
        self.away = 0  # so many label batches find no ledger
        self.commands = []
        self.evidence = []
        self.refuse = ""
        self.frozen = ""
        self.confirm_after = 0  # so many looks at the status until a move is confirmed; -1: never
        self.pending = None
        self.decisions = []

    def known(self, name):
        return name in self.models()

    def models(self):
        return self.names

    def coding(self, model):
        self._known(model)
        return Coding()

    def rollback_on(self, model):
        return ()

    async def add_labels(self, model, columns):
        self._known(model)
        if self.away:
            self.away -= 1
            raise LedgerUnavailable("disk full")
        self.recorded += columns[["request_hi", "request_lo", "row", "label"]].tolist()

    async def command(self, model, command):
        self._known(model)
        self.commands.append((model, command.kind, command.actor, command.reason, command.to))
        self.evidence.append(command.evidence)
        if self.refuse:
            raise Refused(self.refuse)
        move = AliasMove(8, command.to or 7)
        if command.kind in (CommandKind.ROLL_BACK, CommandKind.PROMOTE, CommandKind.SIGN_OFF):
            self.pending = {"expected": move.expected, "to": move.to}
        decision = Decision(
            DecisionKind.ROLL_BACK, time.time(), 0, move.to, command.reason or "by hand", command.actor, move=move
        )
        self.decisions.insert(0, decision)
        return decision

    async def record(self, model, limit):
        self._known(model)
        made = self.decisions[:limit]
        return [(f"{model}/{len(self.decisions) - index}", decision) for index, decision in enumerate(made)]

    async def refused(self, model, limit):
        self._known(model)
        return self.refused_acts[:limit]

    async def production(self, model):
        self._known(model)
        return told_reigns(model, [*enumerate(self.decisions[::-1], 1)])

    def status(self):
        if self.pending is not None:
            self.confirm_after -= 1
            if self.confirm_after == -1:
                self.pending = None
        return {"at": time.time(), "models": {name: self._model() for name in self.names}}

    def health(self):
        return True, []

    def exposition(self, accept):
        return b"", "text/plain"

    def _known(self, model):
        if model not in self.names:
            raise UnknownModel(model)

    def _model(self):
        return {
            "champion": 7,
            "challenger": 8,
            "previous": 6,
            "awaited": None,
            "pending": self.pending,
            "rollback": {"to": 7, "ready": True, "moves_title": False},
            "ready": [6, 7, 8],
            "observations_repeated": 12,
            "frozen": self.frozen,
            "traffic": {"mode": "canary", "share": 10, "mirror": 0},
            "roles": {
                "champion": {
                    "version": 7,
                    "answers": 900,
                    "failed": 1,
                    "precision": {"value": 0.731, "lower": 0.7, "upper": 0.76, "count": 321},
                    "p50_seconds": 0.0042,
                    "p99_seconds": 1.25,
                }
            },
            "rollout": {
                "id": "1",
                "version": 8,
                "phase": "canary",
                "active": True,
                "paused": False,
                "hold_reason": "",
                "step": 1,
                "steps": [{"kind": "shadow"}, {"kind": "canary"}, {"kind": "promote"}],
                "evidence": {
                    "verdict": "INCONCLUSIVE",
                    "reason": "not enough labels\x1b[31m",
                    "guardrails": [{"name": "p99_latency", "verdict": "PASS", "reason": "no slower"}],
                },
            },
            "labels": {"matched": 5, "labels_waiting": 2},
            "registry": {"read_at": time.time(), "error": ""},
            "policy_digest": "d",
        }


class Running:
    """An admin port on a thread of its own."""

    def __init__(self, plane, access):
        self.port = 0
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(plane, access))
        self._thread.start()
        assert self._ready.wait(BOUND_SECONDS)

    def _run(self, plane, access):
        def bound(_host, port):
            self.port = port
            self._ready.set()

        async def serve():
            self._task = asyncio.current_task()
            await serve_admin(admin_app(plane, access, labels_bytes=4 * 1024 * 1024), "127.0.0.1", 0, bound=bound)

        with contextlib.suppress(asyncio.CancelledError), asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(serve())

    def close(self):
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(BOUND_SECONDS)
        assert not self._thread.is_alive()


@pytest.fixture
def plane():
    return Plane()


@pytest.fixture
def port(plane):
    running = Running(plane, Access("127.0.0.1"))
    yield running.port
    running.close()


@pytest.fixture
def run(port):
    def run(*arguments, **settings):
        return CliRunner(env={"TITLESHOT_ADMIN": f"http://127.0.0.1:{port}"}).invoke(main, arguments, **settings)

    return run


def recorded_ids(plane):
    return [(high << 64) | low for high, low, _, _ in plane.recorded]


# ---- labels


def test_a_csv_of_several_batches(plane, run, tmp_path):
    file = tmp_path / "labels.csv"
    rows = [(f"request-{number}", number % 2) for number in range(2500)]
    file.write_text("request_id,label\n" + "".join(f"{name},{label}\n" for name, label in rows))
    done = run("labels", str(file))
    assert (done.exit_code, done.stdout, done.stderr) == (0, f"{file}: 2500 accepted, 0 rejected\n", "")
    assert recorded_ids(plane) == [request_key(name) for name, _ in rows]
    assert [label for *_, label in plane.recorded] == [float(label) for _, label in rows]


def test_rejected_labels_are_told_by_their_line_and_the_others_are_kept(plane, run, tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text("request_id,label,row\na,1,\nb,late,\nc,nan,\n,1,\nd,0,2\ne,1,-1\nf,1\n")
    done = run("labels", str(file))
    assert (done.exit_code, done.stdout) == (1, f"{file}: 2 accepted, 5 rejected\n")
    lines = done.stderr.splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"{file}:{number}" for number in (3, 4, 5, 7, 8)]
    assert "label: expected a finite number, true or false" in lines[0]
    assert recorded_ids(plane) == [request_key("a"), request_key("d")]
    assert [row for _, _, row, _ in plane.recorded] == [0, 2]


def test_ndjson_from_standard_input_with_a_model(plane, run):
    plane.names = ["late-arrival", "other"]
    lines = '{"request_id": "a", "label": 1}\nnothing\n{"request_id": "b", "label": 1, "model": "unknown"}\n'
    done = run("labels", "-", "--format", "ndjson", "--model", "late-arrival", "--json", input=lines)
    answer = json.loads(done.stdout)
    assert (done.exit_code, answer["accepted"], answer["complete"]) == (1, 1, True)
    assert [item["line"] for item in answer["rejected"]] == [2, 3]
    assert answer["rejected"][0]["error"] == "expected JSON in UTF-8"


def test_a_ledger_that_is_away_for_a_while(plane, run, tmp_path, monkeypatch):
    import router.cli.labels as module

    waits = []
    monkeypatch.setattr(module.time, "sleep", waits.append)
    plane.away = 3
    file = tmp_path / "labels.ndjson"
    file.write_text('{"request_id": "a", "label": 1}\n')
    done = run("labels", str(file))
    assert (done.exit_code, len(plane.recorded), len(waits)) == (0, 1, 3)


def test_a_ledger_that_stays_away(plane, run, tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text("request_id,label\n" + "".join(f"r{number},1\n" for number in range(1500)))
    add = plane.add_labels
    plane.away = 0

    async def only_once(model, columns):
        await add(model, columns)
        plane.away = 10**6

    plane.add_labels = only_once
    done = run("labels", str(file), "--retry-for", "0.2")
    assert (done.exit_code, len(plane.recorded)) == (3, 1000)
    assert done.stdout == f"{file}: 1000 accepted, 0 rejected\n"
    assert f"{file}: nothing after line 1001 was acknowledged" in done.stderr
    assert "the ledger is not available" in done.stderr


def test_a_csv_without_a_header(run, tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text("a,1\n")
    done = run("labels", str(file))
    assert done.exit_code == 1
    assert "line 1: expected a header of request_id,label" in done.stderr


def test_a_file_whose_ending_says_nothing(run, tmp_path):
    file = tmp_path / "labels.txt"
    file.write_text("")
    done = run("labels", str(file))
    assert done.exit_code == 2
    assert "use --format" in done.stderr


# ---- acts


def test_a_rollback_waits_for_the_registry_and_prints_the_seconds(plane, run):
    plane.confirm_after = 3
    done = run("rollback", "late-arrival", "--to", "6", "--reason", "too slow")
    assert done.exit_code == 0, done.output
    target, first, second = done.stdout.splitlines()
    assert target == "late-arrival: version 6 would serve; it is ready"
    assert first == "late-arrival: roll back, version 6: too slow"
    assert second.startswith("late-arrival: the registry confirmed; ")
    assert plane.pending is None
    assert plane.commands == [("late-arrival", CommandKind.ROLL_BACK, "local:loopback", "too slow", 6)]


def test_a_dry_run_says_who_would_serve_and_does_nothing(plane, run):
    done = run("rollback", "late-arrival", "--dry-run")
    assert (done.exit_code, done.stdout) == (0, "late-arrival: version 7 goes on serving; it is ready\n")
    assert run("rollback", "late-arrival", "--dry-run", "--to", "6").stdout.endswith("6 would serve; it is ready\n")
    unknown = run("rollback", "late-arrival", "--dry-run", "--to", "5")
    assert unknown.stdout == "late-arrival: version 5 would serve; it is probed before it gets the title\n"
    told = json.loads(run("rollback", "late-arrival", "--dry-run", "--json").stdout)
    assert told == {"to": 7, "ready": True, "dry_run": True}
    assert plane.commands == []


def test_a_sign_off_off_a_terminal_names_its_evidence(plane, run):
    done = run("sign-off", "late-arrival", "--reason", "x")
    assert done.exit_code == 2
    assert "expected --evidence DIGEST" in done.stderr
    assert run("sign-off", "late-arrival", "--reason", "x", "--evidence", "ab12").exit_code == 0
    assert plane.evidence == ["ab12"]


def test_a_rollback_that_the_registry_does_not_confirm(plane, run):
    plane.confirm_after = -10
    done = run("rollback", "late-arrival", "--reason", "x", "--wait", "0.3", "--json")
    answer = json.loads(done.stdout)
    assert (done.exit_code, answer["confirmed"], answer["kind"]) == (3, False, "roll_back")
    assert "has not confirmed it within 0.3 s" in done.stderr


def test_a_rollback_without_waiting(plane, run):
    plane.confirm_after = -10
    done = run("rollback", "late-arrival", "--reason", "x", "--wait", "0")
    assert (done.exit_code, len(done.stdout.splitlines())) == (0, 2)


@pytest.mark.parametrize(
    ("arguments", "kind", "to"),
    [
        (["promote", "late-arrival"], CommandKind.PROMOTE, None),
        (["sign-off", "late-arrival", "--evidence", "aa"], CommandKind.SIGN_OFF, None),
        (["reject", "late-arrival"], CommandKind.REJECT, None),
        (["pause", "late-arrival"], CommandKind.PAUSE, None),
        (["resume", "late-arrival"], CommandKind.RESUME, None),
        (["abort", "late-arrival"], CommandKind.ABORT, None),
        (["start", "late-arrival", "--version", "9", "--retry"], CommandKind.START, 9),
    ],
)
def test_every_act_arrives(plane, run, arguments, kind, to):
    done = run(*arguments, "--reason", "because")
    assert done.exit_code == 0, done.output
    assert plane.commands == [("late-arrival", kind, "local:loopback", "because", to)]


def test_a_refusal_says_why(plane, run):
    plane.refuse = "cannot promote: there is no rollout"
    done = run("promote", "late-arrival", "--reason", "x")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "Error: cannot promote: there is no rollout\n"


def test_a_model_that_is_not_there(run):
    done = run("pause", "late-arival", "--reason", "x")
    assert done.exit_code == 1
    assert "did you mean 'late-arrival'?" in done.stderr


def test_a_name_that_would_be_another_path(plane, run):
    done = run("pause", "../late-arrival", "--reason", "x")
    assert done.exit_code in (1, 3)
    assert plane.commands == []


# ---- looking


def test_the_status_of_all_models(run):
    done = run("status")
    assert done.exit_code == 0
    assert "late-arrival" in done.stdout
    assert "canary, 10 %" in done.stdout
    assert "v8: canary, step 2 of 3" in done.stdout


def test_the_status_of_one_model(run):
    done = run("status", "late-arrival")
    assert done.exit_code == 0
    assert "0.731 [0.700, 0.760] of 321" in done.stdout
    assert "4.2 ms" in done.stdout
    assert "1.25 s" in done.stdout
    assert "\x1b" not in done.stdout
    assert "INCONCLUSIVE: not enough labels" in done.stdout
    assert "p99_latency:" in done.stdout
    assert "12 observations of ids answered before; they are no evidence" in done.stdout


def test_the_status_says_that_no_rollout_starts(plane, run):
    assert "frozen:" not in run("status", "late-arrival").stdout
    plane.frozen = "frozen: 3 rollbacks within 24 hours, the last of version 5"
    assert "\nfrozen:        3 rollbacks within 24 hours, the last" in run("status", "late-arrival").stdout


def test_the_status_says_that_a_tokens_file_is_not_taken(plane, tmp_path):
    made = new_token("ops", [ActorRole.OPERATOR])
    (tmp_path / "tokens.yaml").write_text(f"{made.line}\n")
    running = Running(plane, Access("127.0.0.1", (), Tokens(tmp_path / "tokens.yaml")))
    try:
        admin = ("status", "--admin", f"http://127.0.0.1:{running.port}")
        assert "tokens file" not in CliRunner(env={"TITLESHOT_TOKEN": made.token}).invoke(main, admin).stdout
        (tmp_path / "tokens.yaml").write_text(f"{made.line}\n{made.line}\n")
        shown = CliRunner(env={"TITLESHOT_TOKEN": made.token}).invoke(main, admin).stdout
        assert "tokens file not taken, the last good one stays in force: " in shown
        assert "the name ops stands here twice" in shown
    finally:
        running.close()


def test_the_status_as_json(run):
    everything = json.loads(run("status", "--json").stdout)
    one = json.loads(run("status", "late-arrival", "--json").stdout)
    assert everything["models"]["late-arrival"]["champion"] == one["champion"] == 7


def test_the_history(plane, run):
    assert "no decision yet" in run("history", "late-arrival").stdout
    plane.decisions = [Decision(DecisionKind.ADVANCE, 1e9, 1, 8, "[bold]held\x1b[0m", "ana@example.org")]
    done = run("history", "late-arrival")
    assert "advance" in done.stdout
    assert "[bold]held\ufffd[0m" in done.stdout
    assert json.loads(run("history", "late-arrival", "--json").stdout)["decisions"][0]["actor"] == "ana@example.org"
    moved = AliasMove(7, 8)
    plane.decisions.insert(0, Decision(DecisionKind.FOREIGN_MOVE, 1e9, 0, 8, "why", "registry", move=moved))
    lines = [line.split() for line in run("history", "late-arrival").stdout.splitlines()]
    assert [line[0] for line in lines[1:3]] == ["v8", "v7"]
    assert {"late-arrival/2", "registry"} <= set(lines[1])


def test_who_was_refused(plane, run):
    assert "nobody was refused" in run("history", "late-arrival", "--refused").stdout
    plane.refused_acts = [RefusedAct(1e9, "[bold]ann\x1b[0m", "the network", "promote", "late-arrival", "no right", 2)]
    shown = run("history", "late-arrival", "--refused").stdout
    assert shown.split()[9:] == ["promote", "late-arrival", "[bold]ann\ufffd[0m", "the", "network", "2", "no", "right"]
    told = json.loads(run("history", "late-arrival", "--refused", "--json").stdout)
    assert told["refused"][0]["why"] == "no right"


# ---- who may


def test_tokens(plane, tmp_path):
    operator, labeller = new_token("ops", [ActorRole.OPERATOR]), new_token("feed", [ActorRole.LABELLER])
    (tmp_path / "tokens.yaml").write_text(f"{operator.line}\n{labeller.line}\n")
    (tmp_path / "token").write_text(operator.token + "\n")
    running = Running(plane, Access("127.0.0.1", (), Tokens(tmp_path / "tokens.yaml")))
    try:
        admin = ["--admin", f"127.0.0.1:{running.port}"]

        def run(*arguments, token=""):
            return CliRunner(env={"TITLESHOT_TOKEN": token}).invoke(main, [*arguments, "--reason", "x", *admin])

        assert run("pause", "late-arrival").exit_code == 4
        assert run("pause", "late-arrival", token="wrong").exit_code == 4
        assert run("pause", "late-arrival", token=labeller.token).exit_code == 4
        assert plane.commands == []
        assert run("pause", "late-arrival", token=operator.token).exit_code == 0
        assert run("pause", "late-arrival", "--token-file", str(tmp_path / "token"), token="wrong").exit_code == 0
        assert [actor for _, _, actor, _, _ in plane.commands] == ["ops", "ops"]
        refused = run("promote", "late-arrival", token=operator.token)
        assert refused.exit_code == 4
        assert "right to approve" in refused.stderr
        assert operator.token not in refused.output
    finally:
        running.close()


def test_nobody_is_there(tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text("request_id,label\na,1\n")
    for arguments in (["status"], ["labels", str(file)], ["rollback", "m", "--reason", "x"]):
        done = CliRunner().invoke(main, [*arguments, "--admin", "http://127.0.0.1:1"])
        assert done.exit_code == 3
        assert "cannot reach titleshot at http://127.0.0.1:1" in done.stderr
        assert "TITLESHOT_ADMIN" in done.stderr


def test_the_environment_s_proxy_gets_no_token(run):
    done = CliRunner().invoke(
        main, ["status", "--admin", "http://127.0.0.1:1"], env={"HTTP_PROXY": "http://127.0.0.1:2"}
    )
    assert "127.0.0.1:2" not in done.output
