"""Who is told of what happens: what is wrong with it, and that no address gets out."""

import pytest

from comparator.news import NOISE, Event
from router.settings import SettingsError, keep, kept, load_settings

HEAD = "registry: r\nnotify:\n{targets}\nmodels:\n  m:\n    endpoint: http://m-v{{version}}:1\n"


def loaded(folder, targets):
    path = folder / "titleshot.yaml"
    path.write_text(HEAD.format(targets=targets))
    return load_settings(path)


def problems(folder, targets):
    with pytest.raises(SettingsError) as error:
        loaded(folder, targets)
    return [f"{each.line}:{each.column}: {each.where}: {each.expected}" for each in error.value.problems]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("{name: a, format: slack}", "3:5: notify[0].url: expected either url or url_file"),
        ("{name: a, format: slack, url: 'http://h/T0P', url_file: held}",
         "3:35: notify[0].url: expected either url or url_file"),
        ("{name: a, format: slack, url: 'http://u:T0P@h/'}",
         "3:35: notify[0].url: expected http(s)://host:port/path, perhaps with a query, without user and password"),
        ("{name: a, format: slack, url_file: none}",
         "3:40: notify[0].url_file: expected a file with an address: {folder}/none: No such file or directory"),
        ("{name: a, format: slack, url_file: two}",
         "3:40: notify[0].url_file: expected http(s)://host:port/path and nothing else in {folder}/two"),
        ("{name: a, format: slack, url_file: binary}",
         "3:40: notify[0].url_file: expected http(s)://host:port/path and nothing else in {folder}/binary"),
        ("{name: a, format: slack, url: 'http://h/', secret_file: short}",
         "3:61: notify[0].secret_file: expected a secret of at least 16 bytes in {folder}/short"),
        ("{name: a, format: teams, url: 'http://h/'}",
         "3:23: notify[0].format: expected 'cloudevents' or 'slack', not 'teams'"),
        ("{name: a, url: 'http://h/'}", "3:5: notify[0].format: expected a value, found nothing"),
        ("{name: Chat, format: slack, url: 'http://h/'}",
         "3:12: notify[0].name: expected a name such as queue_time: 1 to 63 of a-z, 0-9 and _, a letter first"),
        ("{name: a, format: slack, url: 'http://h/', events: [promted]}",
         "3:57: notify[0].events[0]: expected an event, not 'promted'; did you mean 'promoted'?"),
        ("{name: a, format: slack, url: 'http://h/', events: [[1]]}",
         "3:57: notify[0].events[0]: expected an event, not a list; expected one of "
         + ", ".join(event.value for event in Event)),
        ("{name: a, format: slack, url: 'http://h/', events: []}",
         "3:56: notify[0].events: expected at least one event; leave the key out to be told of the usual ones"),
        ("{name: a, format: slack, url: 'http://h/', models: [n]}",
         "3:57: notify[0].models[0]: expected a model of these settings, not 'n'; expected one of m"),
        ("{name: a, format: slack, url: 'http://h/', timeout: 2m}",
         "3:57: notify[0].timeout: expected more than 0s and at most 60s"),
        ("{name: a, format: slack, url: 'http://h/', source: 'not a URI'}",
         "3:56: notify[0].source: expected a URI reference such as /titleshot/production, not 'not a URI'"),
        ("{name: a, format: slack, url: 'http://h/', source: '/%zz'}",
         "3:56: notify[0].source: expected a URI reference such as /titleshot/production, not '/%zz'"),
        ("{name: a, format: slack, url: 'http://h/', secret: x}",
         "3:48: notify[0].secret: unknown key; did you mean 'secret_file'?"),
        ("{name: a, format: slack, url: 'http://h/'}\n  - {name: a, format: slack, url: 'http://h/'}",
         "4:12: notify[1].name: expected another name: a is there already"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place_and_without_an_address(tmp_path, target, expected):
    (tmp_path / "held").write_text("http://h/T0P\n")
    (tmp_path / "two").write_text("http://h/T0P\nhttp://h/T0P\n")
    (tmp_path / "binary").write_bytes(b"http://h/\xff\xfe")
    (tmp_path / "short").write_text("T0P\n")
    found = problems(tmp_path, f"  - {target}")
    assert found == [expected.replace("{folder}", str(tmp_path))]
    assert "T0P" not in str(found)


def test_what_is_not_said_has_its_default(tmp_path):
    (target,) = loaded(tmp_path, "  - {name: a, format: cloudevents, url: 'https://h/T0P?x=1'}").notify
    assert {event for event in Event if target.wants(event, "m")} == set(Event) - NOISE
    assert (target.source, target.timeout, target.secret_file, target.models) == ("/titleshot", 10.0, None, ())
    assert "T0P" not in repr(target)


def test_files_are_beside_the_settings_and_kept_settings_do_not_need_them(tmp_path):
    (tmp_path / "chat.url").write_text("https://hooks.example/services/T0P\n")
    settings = loaded(tmp_path, "  - {name: a, format: slack, url_file: chat.url, events: [held], models: [m]}")
    (target,) = settings.notify
    assert target.url_file == str(tmp_path / "chat.url")
    assert target.wants(Event.HELD, "m")
    assert not target.wants(Event.PROMOTED, "m")
    assert not target.wants(Event.HELD, "n")
    keep(settings, tmp_path / "kept.json")
    assert "T0P" not in repr(settings) + (tmp_path / "kept.json").read_text()
    (tmp_path / "chat.url").unlink()
    assert kept(tmp_path / "kept.json").notify == (target,)
