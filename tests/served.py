"""A server in a process of its own, for tests.

`serving([...])`, or this file run with a folder and, if it shall take few files at once, how many.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

FAKES = [sys.executable, __file__]


@dataclass(frozen=True)
class Served:
    """A running server: its process, and where it listens."""

    process: subprocess.Popen[str]
    url: str


@contextmanager
def serving(words: list[str], **environment: str) -> Iterator[Served]:
    """Start a server, wait until it listens, and end it."""
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    try:
        line = process.stdout.readline()
        found = re.fullmatch(r"listening on (http://\S+)\n", line)
        assert found, line
        yield Served(process, found[1])
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


def mdcsd_serve(weights: Path, data: Path, *more: str) -> list[str]:
    """The command line of a real server on a free port."""
    return [sys.executable, "-m", "mdcsd", "serve", "--weights", str(weights), "--data", str(data),
            "--port", "0", *more]  # fmt: skip


if __name__ == "__main__":
    from mdcsd.web.server import serve
    from web_judges import load_fake, settings_for

    n_jobs = int(sys.argv[2]) if sys.argv[2:] else 64
    serve(replace(settings_for(Path(sys.argv[1]), jobs_in_all=n_jobs), port=0), load_fake)
