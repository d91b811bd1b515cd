"""`titleshot`: the table of commands."""

from __future__ import annotations

import click

from router.cli.lazy import Lazy, LazyGroup

COMMANDS = {
    "demo": Lazy("router.demo.command:demo", "See it work: a promotion and a rollback on real traffic, embedded."),
    "serve": Lazy("router.cli.serve:serve", "Route traffic as a settings file says."),
    "status": Lazy("router.cli.status:status", "Who serves, what is on trial, and on what evidence."),
    "top": Lazy("router.cli.top:top", "Watch all models, or one with its last decisions, live."),
    "history": Lazy("router.cli.history:history", "What was in production when, and the decisions about a model."),
    "explain": Lazy("router.cli.explain:explain", "The numbers behind a decision; decide it again from its evidence."),
    "audit": Lazy("router.cli.audit:audit", "Whether the record of decisions is whole."),
    "labels": Lazy("router.cli.labels:labels", "Send a file of labels (CSV or NDJSON)."),
    "register": Lazy("router.cli.register:register", "Make an immutable version with its lineage."),
    "annotate": Lazy("router.cli.register:annotate", "Complete the lineage of a version that another tool made."),
    "gate": Lazy("router.cli.gate:gate", "Check a staged version as its policy asks, before its rollout may start."),
    "promote-env": Lazy(
        "router.cli.promote_env:promote_env", "Copy a gated version to the next environment's registered model."
    ),
    "replay": Lazy("router.cli.replay:replay", "What a policy would have decided on recorded traffic."),
    "record": Lazy("router.cli.record:record", "Record requests, answers and labels into a file."),
    "resend": Lazy("router.cli.resend:resend", "Recorded requests to two model servers, whose answers are compared."),
    "rollback": Lazy("router.cli.acts:rollback", "Roll back: routes at once, then the registry."),
    "promote": Lazy("router.cli.acts:promote", "Make the challenger champion now."),
    "sign-off": Lazy("router.cli.sign_off:sign_off", "Sign off a rollout that waits for it."),
    "reject": Lazy("router.cli.sign_off:reject", "Turn down a rollout that waits for a sign-off."),
    "pause": Lazy("router.cli.acts:pause", "Keep a rollout where it is."),
    "resume": Lazy("router.cli.acts:resume", "Let a paused rollout go on."),
    "abort": Lazy("router.cli.acts:abort", "End a rollout: all traffic to the champion."),
    "start": Lazy("router.cli.acts:start", "Give a version another shot."),
    "policy": Lazy("router.cli.policy:policy", "Check a policy file; print its digest."),
    "unfreeze": Lazy("router.cli.acts:unfreeze", "Let rollouts start again after too many rollbacks."),
    "doctor": Lazy("router.cli.doctor:doctor", "Whether all that titleshot needs is there, and what to mend."),
    "config": Lazy("router.cli.config:config", "Check settings files; print their JSON Schema."),
    "token": Lazy("router.cli.new_token:token", "Make a token for the admin port."),
}


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 refused or invalid, 2 usage, 3 not reachable, 4 not allowed.",
)
@click.version_option(package_name="titleshot")
def main() -> None:
    """A challenger model gets its title shot: real traffic, live comparison, promotion or rollback by evidence."""
