import json

import pytest

from router.artifacts.profile import ProfileError
from router.cli.register import profile_text


def test_data_that_are_no_table_have_no_profile_unless_one_is_given(tmp_path):
    data = tmp_path / "train.json"
    data.write_text('[{"a": 1}]')
    assert profile_text(data, None) is None
    assert profile_text(tmp_path, None) is None
    assert profile_text(None, None) is None
    table = tmp_path / "features.csv"
    table.write_text("a\n1\n")
    made = profile_text(data, table)
    assert json.loads(made)["rows"] == 1
    assert profile_text(table, None) == made
    ready = tmp_path / "ready.json"
    ready.write_text(made)
    assert profile_text(table, ready) == made


@pytest.mark.parametrize("name", ["features.tsv", "features.csv.gz", "features", "folder"])
def test_a_profile_of_an_unknown_kind_is_an_error(tmp_path, name):
    (tmp_path / "folder").mkdir()
    if name != "folder":
        (tmp_path / name).write_text("a\n1\n")
    with pytest.raises(ProfileError, match=r"expected a file named \.csv, \.parquet or \.json"):
        profile_text(None, tmp_path / name)


@pytest.mark.parametrize("content", [b'{"a": "\xe9"}', b"[]", b"1" * 5_000_000])
def test_a_file_that_is_no_profile_is_an_error_that_names_it(tmp_path, content):
    file = tmp_path / "ready.json"
    file.write_bytes(content)
    with pytest.raises(ProfileError, match=r"ready\.json"):
        profile_text(None, file)
