"""Stand-ins for processes that judge, which load no model; processes import them by name."""

from __future__ import annotations

import os
import signal
import time

from mdcsd.detect_file import Judged
from mdcsd.errors import InputError


def pretend(job, config):
    """Stand in for a process that judges: names say what a file does to it."""
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
    return Judged(job.path, {"threads": os.environ["OMP_NUM_THREADS"]}, None)


def die(*_):
    os._exit(1)
