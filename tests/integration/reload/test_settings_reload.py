"""The watch on real directories: every way in which settings files are replaced out there."""

import asyncio
import contextlib
import os
from pathlib import Path

from router.control.reload import watch
from router.settings import Settings, SettingsError, load_settings

TEXT = "registry: r\nworkers: {workers}\nmodels:\n  m: {{endpoint: 'http://m-v{{version}}:1'}}\n"
BOUND_SECONDS = 15


def text(workers):
    return TEXT.format(workers=workers)


class Watching:
    """What `watch` yields, one by one."""

    def __init__(self, path, current):
        self._found = asyncio.Queue()
        self._task = asyncio.create_task(self._run(path, current))

    async def _run(self, path, current):
        async for found in watch(path, current):
            await self._found.put(found)

    async def next(self):
        return await asyncio.wait_for(self._found.get(), BOUND_SECONDS)

    async def until(self, wanted):
        """The next one that is wanted; half-written files may come before it."""
        async with asyncio.timeout(BOUND_SECONDS):
            while not wanted(found := await self._found.get()):
                pass
            return found

    async def close(self):
        assert not self._task.done(), "the watch ended"
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


@contextlib.asynccontextmanager
async def watching(path):
    watch = Watching(path, load_settings(path))
    try:
        yield watch
    finally:
        await watch.close()


def workers(count):
    return lambda found: isinstance(found, Settings) and found.workers == count


def run(test):
    asyncio.run(test)


def test_a_file_written_in_place(tmp_path):
    async def body():
        path = tmp_path / "titleshot.yaml"
        path.write_text(text(1))
        async with watching(path) as watch:
            path.write_text(text(2))
            assert await watch.until(workers(2))

    run(body())


def test_an_editor_that_renames_a_new_file_over_the_old(tmp_path):
    async def body():
        path = tmp_path / "titleshot.yaml"
        path.write_text(text(1))
        async with watching(path) as watch:
            for count in (2, 3):
                fresh = tmp_path / ".titleshot.yaml.swp"
                fresh.write_text(text(count))
                fresh.rename(path)
                found = await watch.next()
                assert workers(count)(found)

    run(body())


def test_a_config_map_whose_symbolic_link_is_swapped(tmp_path):
    async def body():
        for name, count in (("..2026_01", 1), ("..2026_02", 2)):
            (tmp_path / name).mkdir()
            (tmp_path / name / "titleshot.yaml").write_text(text(count))
        (tmp_path / "..data").symlink_to("..2026_01")
        path = tmp_path / "titleshot.yaml"
        path.symlink_to("..data/titleshot.yaml")
        async with watching(path) as watch:
            (tmp_path / "..data_tmp").symlink_to("..2026_02")
            (tmp_path / "..data_tmp").rename(tmp_path / "..data")
            assert workers(2)(await watch.next())

    run(body())


def test_an_invalid_file_is_told_and_the_next_good_one_too(tmp_path):
    async def body():
        path = tmp_path / "titleshot.yaml"
        path.write_text(text(1))
        async with watching(path) as watch:
            replace(path, text(0))
            error = await watch.next()
            assert isinstance(error, SettingsError)
            assert [problem.where for problem in error.problems] == ["workers"]
            replace(path, "registry: [")
            assert isinstance(await watch.next(), SettingsError)
            path.unlink()
            assert "cannot be read" in str(await watch.next())
            replace(path, text(5))
            assert workers(5)(await watch.next())

    run(body())


def test_a_policy_file_in_another_directory(tmp_path):
    def policy(alpha):
        return lambda found: isinstance(found, Settings) and found.models["m"].policy().alpha == alpha

    async def body():
        path = tmp_path / "titleshot.yaml"
        path.write_text(text(1))
        (tmp_path / "policies").mkdir()
        strict = tmp_path / "policies" / "strict.yaml"
        strict.write_text("alpha: 0.01\n")
        async with watching(path) as watch:
            replace(path, text(1).replace(":1'", ":1', policy: policies/strict.yaml"))
            assert policy(0.01)(await watch.next())
            replace(strict, "alpha: 0.02\n")
            assert policy(0.02)(await watch.next())
            replace(strict, "alpha: 2\n")
            assert isinstance(await watch.next(), SettingsError)
            replace(strict, "alpha: 0.03\n")
            assert policy(0.03)(await watch.next())

    run(body())


def test_other_files_in_the_directory_are_no_change(tmp_path):
    async def body():
        path = tmp_path / "titleshot.yaml"
        path.write_text(text(1))
        async with watching(path) as watch:
            for number in range(20):
                (tmp_path / "titleshot.db-wal").write_bytes(bytes(number))
            os.utime(path)
            replace(path, text(2))
            assert workers(2)(await watch.next())

    run(body())


def test_a_directory_that_goes_away_and_comes_back(tmp_path):
    async def body():
        directory = tmp_path / "etc"
        directory.mkdir()
        path = directory / "titleshot.yaml"
        path.write_text(text(1))
        async with watching(path) as watch:
            directory.rename(tmp_path / "gone")
            assert isinstance(await watch.next(), SettingsError)
            directory.mkdir()
            replace(path, text(3))
            assert await watch.until(workers(3))
            replace(path, text(4))
            assert await watch.until(workers(4))

    run(body())


def test_what_changed_before_the_watch_began_is_told(tmp_path):
    async def body():
        path = tmp_path / "titleshot.yaml"
        path.write_text(text(1))
        current = load_settings(path)
        path.write_text(text(2))
        watch = Watching(path, current)
        try:
            assert workers(2)(await watch.next())
        finally:
            await watch.close()

    run(body())


def replace(path: Path, content: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(content)
    fresh.rename(path)
