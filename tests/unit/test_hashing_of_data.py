import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.registering import hashing
from router.registering.hashing import DataError, data_hash, data_size

GOVERNANCE = Path(__file__).parents[2] / "docs" / "governance.md"
NAMES = st.text(st.sampled_from("abc. -Zü"), min_size=1, max_size=8).filter(lambda name: name.strip(". ") != "")
TREES = st.dictionaries(
    st.lists(NAMES, min_size=1, max_size=3).map("/".join), st.binary(max_size=40), min_size=1, max_size=6
).filter(lambda tree: not any(a != b and b.startswith(a + "/") for a in tree for b in tree))


def grown(folder, tree):
    for name, content in tree.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    return lambda: tmp_path_factory.mktemp("tree")


@given(tree=TREES)
def test_the_same_tree_has_the_same_hash_elsewhere_and_another_one_has_not(tree, room):
    first = data_hash(grown(room(), tree))
    again = grown(room(), dict(reversed(tree.items())))
    for path in again.rglob("*"):
        os.utime(path, (1, 1))
    assert data_hash(again) == first
    name = min(tree)
    assert data_hash(grown(room(), {**tree, name: tree[name] + b"x"})) != first
    assert data_hash(grown(room(), {**tree, "other name": b""})) != first


def test_anybody_can_compute_it_again(room):
    tree = {"b/x y": b"1", "a": b"2", "b.c": b"3", "B": b"", "ü": b"4", "-": b"5", "--tag": b"6", "-x/  ./y": b"7"}
    folder = grown(room(), tree)
    command = next(line.strip() for line in str(hashing.__doc__).splitlines() if line.strip().startswith("find "))
    assert f"cd data/train && {command}" in GOVERNANCE.read_text()
    done = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, check=True)
    assert data_hash(folder) == f"sha256:{done.stdout.split()[0]}"


def test_a_file_is_hashed_by_itself_and_progress_is_told(room):
    file = room() / "data.csv"
    file.write_bytes(b"x" * 3_000_000)
    told = []
    assert data_hash(file, told.append) == "sha256:" + hashlib.sha256(b"x" * 3_000_000).hexdigest()
    assert sum(told) == data_size(file) == 3_000_000
    assert len(told) > 1


def test_what_would_not_be_in_the_hash_is_refused(room):
    folder = grown(room(), {"a": b"1"})
    (folder / "link").symlink_to(folder / "a")
    with pytest.raises(DataError, match="link: expected a regular file"):
        data_hash(folder)
    with pytest.raises(DataError, match="no file in it"):
        data_hash(room())
    with pytest.raises(DataError, match="No such file"):
        data_hash(folder / "missing")
    linked = room()
    (linked / "deep").symlink_to(folder)
    with pytest.raises(DataError, match="deep: a link"):
        data_hash(linked)
    pipe = room()
    os.mkfifo(pipe / "pipe")
    with pytest.raises(DataError, match="pipe"):
        data_hash(pipe)
