"""A control plane in memory: the admin port's Operations, without registry, proxies and judge."""

import time
from collections import Counter

from comparator.acts import NotOnTrial
from comparator.events import Command, CommandKind, Decision, DecisionKind, Gated
from comparator.gated import reported
from comparator.policy import Policy
from comparator.title import Refused
from router.control.admin.operations import UnknownModel
from router.control.explanation import Explanation
from router.control.ledger import LedgerUnavailable
from router.control.ledger.audit import Numbered
from router.control.produced import told_reigns
from router.protocols.coding import Coding


class SmallPlane:
    """Keeps labels and decisions in lists; pauses and resumes, and refuses what does not fit."""

    def __init__(self, positives=None):
        self.positives = {"late": 1} if positives is None else positives
        self.labels = {model: [] for model in self.positives}
        self.decisions = {model: [] for model in self.positives}
        self.unread = set()  # models that are not under control yet
        self.away = None  # an exception: the ledger is away
        self.reasons = []
        self.alerts = {}  # model -> matchers
        self.alert_results = Counter()
        self.refused_acts = []
        self.on_trial = True
        self.ready = True
        self.policy = Policy()
        self.extra = {}  # laid over a model's status

    def known(self, name):
        return name in self.models()

    def models(self):
        return sorted(self.positives)

    def coding(self, model):
        return Coding(positive=self.positives[self._known(model)])

    def rollback_on(self, model):
        return self.alerts.get(self._known(model), ())

    def alerted(self, results):
        self.alert_results.update(results)

    async def add_labels(self, model, columns):
        self._known(model)
        if self.away is not None:
            raise self.away
        self.labels[model].append(columns)

    async def command(self, model, command: Command):
        self._known(model)
        if self.away is not None:
            raise self.away
        if model in self.unread:
            raise LedgerUnavailable("the model's records have not been read yet")
        if command.kind is CommandKind.ALERT and not self.on_trial:
            raise NotOnTrial("nothing is on trial")
        if not self.ready:
            raise Refused("cannot roll back: the endpoint of version 1 is not ready")
        if command.kind is CommandKind.ALERT:
            self.on_trial = False
        kind = DecisionKind.PAUSE if command.kind is CommandKind.PAUSE else DecisionKind.ROLL_BACK
        if kind is DecisionKind.PAUSE and any(made.kind is kind for made in self.decisions[model]):
            raise Refused("cannot pause: the rollout is paused already")
        made = Decision(kind, command.at, 17, command.to or 2, command.reason, command.actor, trigger="operator")
        self.decisions[model].insert(0, made)
        return made

    async def gated(self, model, fact: Gated):
        self._known(model)
        if self.away is not None:
            raise self.away
        made = reported(fact, 1, self.policy)
        self.decisions[model].insert(0, made)
        return made

    async def record(self, model, limit):
        self._known(model)
        if self.away is not None:
            raise self.away
        made = self.decisions[model][:limit]
        return [(f"{model}/{len(self.decisions[model]) - index}", decision) for index, decision in enumerate(made)]

    def explained(self, model, number):
        made = self.decisions[self._known(model)][::-1]
        if not number <= len(made):
            return None
        found = Numbered(number, "ab" * 32, made[number - 1])
        return Explanation(model, found, (), None, None, "", from_evidence=False, findings=())

    async def refused(self, model, limit):
        self._known(model)
        if self.away is not None:
            raise self.away
        return [each for each in self.refused_acts[::-1] if each.model in (model, "")][:limit]

    async def production(self, model):
        await self.record(model, 1)
        return told_reigns(model, [*enumerate(self.decisions[model][::-1], 1)])

    def status(self):
        return {"at": time.time(), "models": {model: self._status() for model in self.positives}}

    def health(self):
        return not self.reasons, list(self.reasons)

    def exposition(self, accept):
        return b"titleshot_requests_total 1\n", "text/plain; version=0.0.4; charset=utf-8"

    def _known(self, model):
        if model not in self.positives:
            raise UnknownModel(model)
        return model

    def _status(self):
        return {
            "champion": 1,
            "challenger": 2,
            "previous": None,
            "awaited": None,
            "traffic": {"mode": "canary", "share": 10, "mirror": 0},
            "roles": {
                "champion": {
                    "version": 1,
                    "answers": 900,
                    "failed": 1,
                    "precision": {"value": 0.71, "lower": 0.6, "upper": 0.8, "count": 120},
                    "p50_seconds": 0.004,
                    "p99_seconds": 0.02,
                },
                "challenger": {"version": 2, "answers": 100, "failed": 0, "precision": None, "p99_seconds": None},
            },
            "rollout": {
                "version": 2,
                "reference": 1,
                "phase": "canary",
                "active": True,
                "paused": False,
                "step": 1,
                "steps": [
                    {"kind": "shadow", "percent": 100, "min_seconds": 0.0},
                    {"kind": "canary", "percent": 10, "min_seconds": 0.0},
                    {"kind": "promote", "percent": 100, "min_seconds": 0.0},
                ],
                "evidence": {"verdict": "inconclusive", "guardrails": [{"name": "precision", "lower": float("-inf")}]},
            },
            "registry": {"read_at": 1.0, "error": ""},
            **self.extra,
        }
