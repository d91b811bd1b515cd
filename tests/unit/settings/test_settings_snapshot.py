import stat

from router.settings import keep, kept, load_settings

TEXT = """\
registry: http://user:secret@mlflow:5000
models:
  m: {endpoint: 'http://m-v{version}:1', policy: strict.yaml}
"""


def test_what_is_kept_comes_back(tmp_path):
    (tmp_path / "strict.yaml").write_text("alpha: 0.01\njudge: {bucket: 1s}\n")
    path = tmp_path / "titleshot.yaml"
    path.write_text(TEXT)
    settings = load_settings(path)
    keep(settings, tmp_path / "settings.json")
    (tmp_path / "strict.yaml").write_text("alpha: no number\n")
    again = kept(tmp_path / "settings.json")
    assert again == settings
    assert again.models["m"].policy() == settings.models["m"].policy()
    assert (again.state, again.files) == (settings.state, settings.files)
    assert stat.S_IMODE((tmp_path / "settings.json").stat().st_mode) == 0o600


def test_what_was_not_kept_is_none(tmp_path):
    assert kept(tmp_path / "settings.json") is None
    (tmp_path / "settings.json").write_text("{}")
    assert kept(tmp_path / "settings.json") is None
