"""The server under load: many clients, many files, on this machine only and bounded in time."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mdcsd.errors import InputError
from mdcsd.web.settings import Limits

_JOBS = "/api/v1/jobs"
_POLL_S = 0.5
_LIMIT_S = 1200.0
_EARLY = 20


@dataclass(frozen=True)
class ServeFigures:
    """What a run of the load showed.

    `n_right`: reports that arrived with the SHA-256 of the bytes sent; `n_refused_429` were sent
    again when the answer said; `n_other` answers were of another status than 202, 200 and 429.
    Memory: proportional share (PSS) of the server and its workers, in MB, when 20 files and when
    all were judged.
    """

    n_jobs: int
    n_clients: int
    n_right: int
    n_refused_429: int
    n_other: int
    seconds: float
    early_mb: float
    end_mb: float
    ratio: float


@dataclass
class _Load:
    """What the clients share."""

    port: int
    clip: bytes
    ends_s: float
    statuses: Counter[int] = field(default_factory=Counter)
    n_right: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def bench_serve(
    clip: Path, weights: Path, n_jobs: int = 200, n_clients: int = 50, workers: int | None = None
) -> ServeFigures:
    """Start a server of its own, load it, and end it.

    Raises: InputError if the clip is no mp4 or memory cannot be read on this system.
    """
    if clip.suffix != ".mp4" or not clip.is_file():
        raise InputError(f"{clip}: expected an mp4 file that is there.")
    if not Path("/proc/self/smaps_rollup").exists():
        raise InputError("bench serve reads memory from /proc, which this system does not have.")
    with tempfile.TemporaryDirectory(prefix="mdcsd-bench-") as folder:
        words = [sys.executable, "-m", "mdcsd", "serve", "--weights", str(weights), "--port", "0",
                 "--data", folder]  # fmt: skip
        words += ["--workers", str(workers)] if workers else []
        # The clients share one address; each may have as many files waiting as one browser.
        words += ["--max-jobs-each", str(Limits().jobs_per_owner * n_clients)]
        return load_server(words, Path(folder), clip.read_bytes(), n_jobs, n_clients)


def load_server(
    words: list[str], folder: Path, clip: bytes, n_jobs: int, n_clients: int
) -> ServeFigures:
    """Run a server's command line, with its data in `folder`, under the load of many clients.

    Each client posts its share of the files, waiting as long as a refusal says, then collects
    the reports. The files are one clip, each with other bytes at its end.
    """
    with _server(words) as (process, port), ThreadPoolExecutor(n_clients + 1) as clients:
        began = time.monotonic()
        load = _Load(port, clip, began + _LIMIT_S)
        reports = folder / "reports"
        early = clients.submit(_memory_after, load, process.pid, reports, min(_EARLY, n_jobs))
        shares = [range(i, n_jobs, n_clients) for i in range(n_clients)]
        list(clients.map(lambda share: _be_client(load, share), shares))
        seconds = time.monotonic() - began
        early_mb, end_mb = early.result(), memory_mb(process.pid)
    return ServeFigures(
        n_jobs=n_jobs,
        n_clients=n_clients,
        n_right=load.n_right,
        n_refused_429=load.statuses[429],
        n_other=sum(n for status, n in load.statuses.items() if status not in (200, 202, 429)),
        seconds=seconds,
        early_mb=early_mb,
        end_mb=end_mb,
        ratio=end_mb / early_mb,
    )


@contextmanager
def _server(words: list[str]) -> Iterator[tuple[subprocess.Popen[str], int]]:
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r":(\d+)$", process.stdout.readline().strip())
        if found is None:
            raise InputError("the server did not start; it said why above.")
        yield process, int(found[1])
    finally:
        process.terminate()
        process.communicate()


def _memory_after(load: _Load, pid: int, reports: Path, n_judged: int) -> float:
    """Wait until so many files are judged, and measure."""
    while sum(path.suffix == ".json" for path in reports.iterdir()) < n_judged:
        _pause(load, 0.1)
    return memory_mb(pid)


def _be_client(load: _Load, numbers: range) -> None:
    sent = [_post(load, load.clip + _tail(number)) for number in numbers]
    for job_id, sha256 in sent:
        while _ask(load, "GET", f"{_JOBS}/{job_id}")[2]["state"] in ("queued", "running"):
            _pause(load, _POLL_S)
        report = _ask(load, "GET", f"{_JOBS}/{job_id}/report.json")[2]
        with load.lock:
            load.n_right += report.get("sha256") == sha256


def _tail(number: int) -> bytes:
    """A box that players pass over: the file stays a clip, and its hash is its own."""
    return struct.pack(">I4sQ", 16, b"free", number)


def _post(load: _Load, content: bytes) -> tuple[str, str]:
    """Send a file until it is taken: its id, its SHA-256."""
    while True:
        status, retry_after, answer = _ask(load, "POST", f"{_JOBS}?name=clip.mp4", content)
        if status == 202:
            return answer["id"], hashlib.sha256(content).hexdigest()
        _pause(load, float(retry_after or 1))


def _ask(
    load: _Load, method: str, path: str, content: bytes | None = None
) -> tuple[int, str | None, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", load.port, timeout=60)
    try:
        connection.request(method, path, content)
        answer = connection.getresponse()
        found = json.loads(answer.read())
    finally:
        connection.close()
    with load.lock:
        load.statuses[answer.status] += 1
    return answer.status, answer.getheader("retry-after"), found


def _pause(load: _Load, seconds: float) -> None:
    if time.monotonic() > load.ends_s:
        raise InputError(f"the load was not through after {_LIMIT_S:.0f} s.")
    time.sleep(seconds)


def memory_mb(pid: int) -> float:
    """Measure a process and all below it: proportional set size, in MB."""
    total_kb = 0
    waiting = [pid]
    while waiting:
        each = waiting.pop()
        try:
            text = Path(f"/proc/{each}/smaps_rollup").read_text()
            for children in Path(f"/proc/{each}/task").glob("*/children"):
                waiting += [int(child) for child in children.read_text().split()]
        except OSError:  # it ended meanwhile
            continue
        total_kb += int(text.split("Pss:")[1].split()[0])
    return total_kb / 1024
