"""Stand-ins for processes that judge, which load no model; processes import them by name."""

from __future__ import annotations

import os
import signal
import time

from mdcsd.detect_file import Judged
from mdcsd.errors import InputError


def load_pretence(config):
    """Stand in for the loading of a detector."""
    return pretend


def load_slowly(config):
    time.sleep(1.5)
    return pretend


def pretend(job):
    """Stand in for the judging of a file: its name says what it does to the process."""
    if "wait" in job.path.name or "crash" in job.path.name:
        time.sleep(0.5)
    if "crash" in job.path.name:
        os.kill(os.getpid(), signal.SIGKILL)
    if "slow" in job.path.name:
        time.sleep(600)
    if "disk" in job.path.name:
        raise InputError("the disk is full")
    if "once" in job.path.name:
        with open(job.path.name, "a", encoding="utf-8") as file:  # in the test's own folder
            file.write("judged\n")
    given = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
    return Judged(job.path, {name: os.environ.get(name) for name in given}, None)


def die(*_):
    os._exit(1)
