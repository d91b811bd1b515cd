"""Which commit a checkout's files are those of, with a real git; and what is no commit at all."""

import os

import pytest
from checkouts import committed, git
from click.testing import CliRunner

from router.cli.main import main
from router.registering.source import SourceError, commit_of


@pytest.fixture
def checkout(tmp_path):
    return committed(tmp_path / "code")


@pytest.fixture
def library(tmp_path, checkout):
    """The checkout's submodule."""
    git(checkout, "submodule", "add", "-q", str(committed(tmp_path / "library")), "lib")
    git(checkout, "commit", "-qm", "with a library")
    return checkout / "lib"


def refused(folder, said):
    with pytest.raises(SourceError, match=said):
        commit_of(folder, allow_dirty=False)
    assert commit_of(folder, allow_dirty=True) == git(folder, "rev-parse", "HEAD") + "-dirty"


def test_files_as_in_the_commit_give_its_sha_whatever_git_is_set_to_show(checkout, library):
    for name in ("status.branch", "status.showStash", "status.relativePaths"):
        git(checkout, "config", name, "true")
    assert commit_of(checkout, allow_dirty=False) == git(checkout, "rev-parse", "HEAD")


def test_an_untracked_file_counts_where_git_is_set_to_hide_it(checkout):
    (checkout / "features.py").write_text("")
    git(checkout, "config", "status.showUntrackedFiles", "no")
    refused(checkout, "1 file is not as in commit .* \\(features.py\\)")


def test_a_changed_submodule_counts_where_git_is_set_to_hide_it(checkout, library):
    (library / "train.py").write_text("print(1)\n")
    git(checkout, "config", "diff.ignoreSubmodules", "all")
    refused(checkout, r"\(lib\)")
    git(checkout, "config", "--unset", "diff.ignoreSubmodules")
    git(checkout, "config", "-f", ".gitmodules", "submodule.lib.ignore", "all")
    git(checkout, "commit", "-qam", "hide it")
    refused(checkout, r"\(lib\)")


def test_an_untracked_file_of_a_submodule_counts_where_git_is_set_to_hide_it(checkout, library):
    (library / "features.py").write_text("")
    git(library, "config", "status.showUntrackedFiles", "no")
    refused(checkout, r"\(lib\)")


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_a_file_that_git_was_told_not_to_look_at_may_have_changed(checkout, flag):
    (checkout / "below").mkdir()
    git(checkout, "update-index", flag, "train.py")
    refused(checkout / "below", r"\(train.py\)")


def test_a_renamed_file_is_told_by_its_names(checkout):
    git(checkout, "mv", "train.py", "fit.py")
    refused(checkout, r"\(fit.py, train.py\)")


def test_a_folder_that_its_repository_ignores_is_of_no_commit(checkout):
    (checkout / ".gitignore").write_text("out/\n")
    git(checkout, "add", ".")
    git(checkout, "commit", "-qm", "ignore it")
    (checkout / "out").mkdir()
    (checkout / "out" / "train.py").write_text("print(1)\n")
    for allow_dirty in (False, True):
        with pytest.raises(SourceError, match="ignored by the git repository around it"):
            commit_of(checkout / "out", allow_dirty=allow_dirty)


@pytest.mark.parametrize("quoted", ["true", "false"])
def test_a_file_name_that_is_no_text_is_told_nevertheless(checkout, quoted):
    git(checkout, "config", "core.quotepath", quoted)
    (checkout / os.fsdecode(b"\xff.py")).write_text("")
    refused(checkout, r"\(\\udcff\.py\)")


@pytest.mark.parametrize("command", [("register", "m", "--run", "abc"), ("annotate", "m", "1")])
@pytest.mark.parametrize("sha", ["", " ", "$(git rev-parse HEAD)", "banana", "A" * 40, "a" * 39, "a" * 40 + "-dirtier"])
def test_what_is_no_sha_is_refused_before_the_registry_is_asked(tmp_path, command, sha):
    asked = [*command, "--git-sha", sha, "--registry", f"sqlite:///{tmp_path / 'none.db'}"]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 1, done.output
    assert "expected a git SHA of 40 or 64" in done.output
    assert not (tmp_path / "none.db").exists()
