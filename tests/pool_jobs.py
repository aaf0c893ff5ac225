"""Stand-ins for processes that judge, which load no model; processes import them by name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from mdcsd.detect_file import Judged
from mdcsd.errors import DataError, InputError


def load_pretence(config):
    """Stand in for the loading of a detector."""
    return pretend


def load_slowly(config):
    time.sleep(1.5)
    return pretend


def load_marking(config):
    """Leave a mark of each process in the test's own folder."""
    Path(f"process {os.getpid()}").touch()
    return pretend


def load_from_a_lost_disk(config):
    raise PermissionError(13, "Permission denied", "weights.safetensors")


def load_damaged(config):
    raise DataError("weights.safetensors: damaged")


def pretend(job):
    """Stand in for the judging of a file: its name says what it does to the process."""
    if "wait" in job.path.name or "crash" in job.path.name:
        time.sleep(0.5)
    if "crash" in job.path.name:
        os.kill(os.getpid(), signal.SIGKILL)
    if "dies first" in job.path.name and not Path(job.path.name).exists():
        Path(job.path.name).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if "meet" in job.path.name:  # both are at work at once, or the test fails
        Path(job.path.name).touch()
        ends_s = time.monotonic() + 60
        while len(list(Path().glob("meet*"))) < 2 and time.monotonic() < ends_s:
            time.sleep(0.05)
    if "slow" in job.path.name:
        time.sleep(600)
    if "disk" in job.path.name:
        raise InputError("the disk is full")
    if "once" in job.path.name:
        with open(job.path.name, "a", encoding="utf-8") as file:  # in the test's own folder
            file.write("judged\n")
    given = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
    line = {name: os.environ.get(name) for name in given}
    alive = [mark for mark in Path().glob("process *") if _lives(int(mark.name.split()[1]))]
    return Judged(job.path, {**line, "alive": len(alive)}, None)


def _lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def say_mask():
    print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()), flush=True)


def die(*_):
    os._exit(1)
