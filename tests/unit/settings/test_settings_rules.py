"""`rules:` and `assign_by:` of a model."""

import pytest

from comparator.events import Mode, Role
from comparator.title import Serving
from router.control.routing import model_routes
from router.link.messages import Routes, Rule, routes_from_file, routes_to_file
from router.settings import SettingsError, load_settings

HEAD = "registry: r\nmodels:\n  m:\n    endpoint: http://m-v{version}:1\n"


def loaded(tmp_path, text):
    path = tmp_path / "titleshot.yaml"
    path.write_text(HEAD + text)
    return load_settings(path)


def test_rules_reach_the_proxies_in_order(tmp_path):
    settings = loaded(
        tmp_path,
        """
    assign_by: path:2
    rules:
      - when: header:X-Tenant
        is: [acme, 42]
        to: champion
      - {when: query:Flag, is: "on", to: challenger}
      - {when: path, begins_with: /v2/, to: champion}
      - {when: cookie:beta, to: challenger}
""",
    )
    routes = model_routes("m", settings.models["m"], Serving(champion=1, other=2, mode=Mode.SHADOW, rollout_id=3))
    assert routes.assign_by == "path:2"
    assert routes.rules == (
        Rule("header:x-tenant", int(Role.CHAMPION), ("acme", "42")),
        Rule("query:Flag", int(Role.CHALLENGER), ("on",)),
        Rule("path", int(Role.CHAMPION), (), ("/v2/",)),
        Rule("cookie:beta", int(Role.CHALLENGER)),
    )
    kept = Routes(1, "g", (routes,))
    assert routes_from_file(routes_to_file(kept)) == kept


KEYS = "header:NAME, query:NAME, cookie:NAME or path:N (a segment), such as header:x-user-id"
SOURCES = "header:NAME, query:NAME, cookie:NAME, path or path:N (a segment), such as header:x-tenant"
TEXT = "rules[0].is: expected text of 1 to 256 bytes without space around it, not"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("assign_by: path", f"assign_by: expected {KEYS}: the whole path tells no clients apart"),
        ("assign_by: path:0", f"assign_by: expected {KEYS}, not 'path:0'"),
        ("rules: {to: champion}", "rules: expected a list, not a mapping"),
        ("rules: [{to: champion, when: body:x}]", f"rules[0].when: expected {SOURCES}, not 'body:x'"),
        ("rules: [{to: champion, when: path, is: x}]", "rules[0].is: expected a path that begins with /"),
        (
            "rules: [{to: champion, when: path}]",
            "rules[0].when: expected is or begins_with beside it: every request has a path",
        ),
        (
            "rules: [{to: champion, when: header:Te}]",
            "rules[0].when: expected a field that clients send to a model: header:te is about the connection",
        ),
        ("rules: [{to: champion, when: header:a, is: true}]", f"{TEXT} true: write it in quotes"),
        ("rules: [{to: champion, when: header:a, is: ['a ']}]", f"{TEXT} 'a '"),
        (
            "rules: [{to: champion, when: header:a, is: []}]",
            "rules[0].is: expected a value, or a list of 1 to 256",
        ),
        (
            "rules: [{to: champion, when: header:a, is: x, begins_with: y}]",
            "rules[0].begins_with: expected either is or begins_with",
        ),
        (
            "rules: [{to: previous, when: header:a}]",
            "rules[0].to: expected 'champion' or 'challenger', not 'previous'",
        ),
        ("rules: [{when: header:a}]", "rules[0].to: expected a value, found nothing"),
        (
            "rules: [{to: champion, when: header:a, whn: x}]",
            "rules[0].whn: unknown key; did you mean 'when'?",
        ),
        (
            f"rules: [{'{to: champion, when: header:a}, ' * 33}]",
            "rules: expected at most 32 rules, not 33: every request is held against them",
        ),
    ],
)
def test_what_is_wrong_with_rules(tmp_path, line, problem):
    with pytest.raises(SettingsError) as caught:
        loaded(tmp_path, f"    {line}\n")
    assert [f"{each.where}: {each.expected}" for each in caught.value.problems] == [f"models.m.{problem}"]
