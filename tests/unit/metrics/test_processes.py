"""What the kernel tells of processes."""

import os
import subprocess
import sys
import time

from router.control.processes import Processes


def test_of_this_process_it_is_what_this_process_uses():
    processes = Processes()
    before = processes.usage({"me": os.getpid()})["me"]
    read, write = os.pipe()
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    after = processes.usage({"me": os.getpid()})["me"]
    os.close(read)
    os.close(write)
    assert after.open_files == before.open_files + 2
    assert abs(after.cpu_seconds - time.process_time()) < 0.5
    assert after.cpu_seconds > before.cpu_seconds
    assert 10 * 2**20 < after.resident_bytes < 100 * 2**30
    assert after.started_at == before.started_at <= time.time() + 1


def test_of_another_process_too_until_it_has_ended():
    processes = Processes()
    name = "print('up', flush=True); input()"  # a name with a bracket must not shift the fields
    child = subprocess.Popen([sys.executable, "-c", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        child.stdout.readline()
        found = processes.usage({"me": os.getpid(), "child": child.pid})
        assert found["child"].started_at >= found["me"].started_at
        assert found["child"].resident_bytes > 0
    finally:
        child.communicate(b"\n")
    assert processes.usage({"me": os.getpid(), "child": child.pid}).keys() == {"me"}
