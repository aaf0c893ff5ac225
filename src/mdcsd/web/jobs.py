"""The queue: one row a file in SQLite, from upload to expiry.

    queued -> running -> done | failed

A worker takes the oldest queued row by one atomic statement and holds it under a `claim` that
nobody else knows; what it writes later counts only while that claim stands. So a job that was
deleted, timed out or given to somebody else cannot be finished twice. The file survives a
SIGKILL (write-ahead log); rows that were running then are queued again at the next start.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from mdcsd.errors import DataError

QueueError = sqlite3.OperationalError
"""The queue cannot be read or written now: locked for long, or no space left."""

_WAIT_S = 24 * 3600.0  # a file that waits or is judged is forgotten after a day, whatever is kept
_THERE = f"""(expires_s > ? OR (expires_s > 0 AND state IN ('queued', 'running')
             AND created_s + {_WAIT_S} > ?))"""
_KEPT = "expires_s = CASE WHEN expires_s > 0 THEN ? + expires_s - created_s ELSE 0 END"

State = Literal["queued", "running", "done", "failed"]

_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    suffix TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    n_bytes INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'done', 'failed')),
    created_s REAL NOT NULL,
    expires_s REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    claim TEXT NOT NULL DEFAULT '',
    slot INTEGER NOT NULL DEFAULT -1,
    started_s REAL NOT NULL DEFAULT 0,
    done INTEGER NOT NULL DEFAULT 0,
    total INTEGER NOT NULL DEFAULT 0,
    took_s REAL,
    verdict TEXT,
    score REAL,
    error TEXT
);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, number);
CREATE INDEX IF NOT EXISTS jobs_by_owner ON jobs (owner, number);
"""


@dataclass(frozen=True)
class Job:
    """One uploaded file. `done` of `total` frames are judged; `owner` "" is nobody.

    `name` is what the user called it, for showing only; times are Unix seconds. What is
    kept is kept for `expires_s - created_s` from the end of judging.
    """

    id: str
    owner: str
    name: str
    suffix: str
    sha256: str
    n_bytes: int
    created_s: float
    expires_s: float
    state: State = "queued"
    attempts: int = 0
    claim: str = ""
    slot: int = -1
    started_s: float = 0.0
    done: int = 0
    total: int = 0
    verdict: str | None = None
    score: float | None = None
    error: str | None = None


_COLUMNS = tuple(column.name for column in fields(Job))
_LIST = ", ".join(_COLUMNS)


def new_id() -> str:
    """Make an id that nobody can guess: 192 random bits."""
    return secrets.token_urlsafe(24)


def _now() -> list[float]:
    """The values of _THERE."""
    return [time.time()] * 2


class JobStore:
    """The queue of one data folder; any number of processes and threads may use it."""

    def __init__(self, data: Path) -> None:
        """Open the queue, making it if it is not there.

        Raises: DataError if the file is no queue of this version.
        """
        self.path = data / "jobs.sqlite3"
        try:
            with self._connection() as base:
                base.execute("PRAGMA journal_mode = WAL")
                base.executescript(_SCHEMA)
                version = base.execute("PRAGMA user_version").fetchone()[0]
                if version not in (0, _VERSION):
                    raise DataError(f"{self.path}: a queue of version {version}. Delete it.")
                base.execute(f"PRAGMA user_version = {_VERSION}")
        except sqlite3.DatabaseError as error:
            raise DataError(f"{self.path}: not a usable queue ({error}). Delete it.") from None

    def add(self, job: Job) -> None:
        """Append a job."""
        marks = ", ".join("?" * len(_COLUMNS))
        values = [getattr(job, name) for name in _COLUMNS]
        self._change(f"INSERT INTO jobs ({_LIST}) VALUES ({marks})", values)

    def get(self, job_id: str) -> Job | None:
        """Look a job up by its id; one that expired or was deleted is not there."""
        found = self._read(f"WHERE id = ? AND {_THERE}", [job_id, *_now()])
        return found[0] if found else None

    def of_owner(self, owner: str) -> list[Job]:
        """List an owner's jobs, the newest first."""
        where = f"WHERE owner = ? AND {_THERE} ORDER BY number DESC"
        return self._read(where, [owner, *_now()])

    def in_state(self, state: State) -> list[Job]:
        """List the jobs in a state, the oldest first."""
        return self._read("WHERE state = ? ORDER BY number", [state])

    def count_in_flight(self, owner: str | None = None) -> int:
        """Count jobs that wait or are being judged, of everybody or of one owner."""
        text = "SELECT COUNT(*) FROM jobs WHERE state IN ('queued', 'running')"
        with self._connection() as base:
            if owner is None:
                return int(base.execute(text).fetchone()[0])
            return int(base.execute(text + " AND owner = ?", [owner]).fetchone()[0])

    def usual_s(self) -> float:
        """Average the seconds that judging the last twenty files took; 1 before the first."""
        text = """SELECT AVG(took_s) FROM (SELECT took_s FROM jobs WHERE took_s IS NOT NULL
                  ORDER BY number DESC LIMIT 20)"""
        with self._connection() as base:
            return float(base.execute(text).fetchone()[0] or 1.0)

    def count_ahead(self, job: Job) -> int:
        """Count queued jobs that come before a queued one."""
        text = """SELECT COUNT(*) FROM jobs WHERE state = 'queued'
                  AND number < (SELECT number FROM jobs WHERE id = ?)"""
        with self._connection() as base:
            return int(base.execute(text, [job.id]).fetchone()[0])

    def claim(self, slot: int) -> Job | None:
        """Take the oldest queued job for the worker of a slot; None if nothing waits."""
        waits = f"state = 'queued' AND {_THERE}"
        if not self._read(f"WHERE {waits} LIMIT 1", _now()):
            return None
        text = f"""UPDATE jobs SET state = 'running', attempts = attempts + 1, claim = ?, slot = ?,
                   started_s = ?, done = 0, total = 0
                   WHERE number = (SELECT MIN(number) FROM jobs WHERE {waits})
                   RETURNING {_LIST}"""
        with self._connection() as base:
            now = time.time()
            row = base.execute(text, [new_id(), slot, now, now, now]).fetchone()
        return Job(*row) if row else None

    def progress(self, job: Job, done: int, total: int) -> bool:
        """Note how far a claimed job is; False if nobody waits for it any more."""
        stands = self._change_claimed(job, "done = ?, total = ?", [done, total])
        return stands and self.get(job.id) is not None

    def finish(self, job: Job, verdict: str, score: float | None) -> bool:
        """Set a claimed job done, its report lying ready; False if the claim no longer stands."""
        change = f"state = 'done', verdict = ?, score = ?, done = total, took_s = ?, {_KEPT}"
        now = time.time()
        return self._change_claimed(job, change, [verdict, score, now - job.started_s, now])

    def fail(self, job: Job, error: str) -> bool:
        """Set a claimed job failed, with the reason for its owner."""
        return self._change_claimed(
            job, f"state = 'failed', error = ?, {_KEPT}", [error, time.time()]
        )

    def requeue(self, job: Job, counts: bool) -> bool:
        """Queue a claimed job again; `counts` says whether the attempt was one."""
        return self._change_claimed(
            job, "state = 'queued', attempts = attempts - ?", [0 if counts else 1]
        )

    def expire(self, job: Job) -> None:
        """Let a job's time be over: it is not there any more, and its files go with the sweep."""
        self._change("UPDATE jobs SET expires_s = 0 WHERE id = ?", [job.id])

    def delete_unless_running(self, job: Job) -> bool:
        """Forget a job at once, if no worker has it."""
        return self._change("DELETE FROM jobs WHERE id = ? AND state != 'running'", [job.id])

    def delete(self, job: Job) -> bool:
        """Forget a job for good; False if it is not there, or in other hands than when read."""
        return self._change("DELETE FROM jobs WHERE id = ? AND claim = ?", [job.id, job.claim])

    def expired(self) -> list[Job]:
        """List the jobs whose time is over and that nobody is judging."""
        return self._read(f"WHERE NOT {_THERE} AND state != 'running'", _now())

    def ids_in_flight(self) -> set[str]:
        """Collect the ids of the jobs that wait or are being judged."""
        text = "SELECT id FROM jobs WHERE state IN ('queued', 'running')"
        with self._connection() as base:
            return {row[0] for row in base.execute(text)}

    def ids(self) -> set[str]:
        """Collect the ids of all jobs."""
        with self._connection() as base:
            return {row[0] for row in base.execute("SELECT id FROM jobs")}

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        # One connection a call: cheap, and safe between threads and after a fork.
        with closing(sqlite3.connect(self.path, timeout=20, isolation_level=None)) as base:
            base.execute("PRAGMA secure_delete = ON")  # a deleted file's name is overwritten
            yield base

    def _read(self, where: str, values: list[Any]) -> list[Job]:
        with self._connection() as base:
            return [Job(*row) for row in base.execute(f"SELECT {_LIST} FROM jobs {where}", values)]

    def _change(self, text: str, values: list[Any]) -> bool:
        with self._connection() as base:
            return base.execute(text, values).rowcount > 0

    def _change_claimed(self, job: Job, change: str, values: list[Any]) -> bool:
        where = "WHERE id = ? AND claim = ? AND state = 'running'"
        return self._change(f"UPDATE jobs SET {change} {where}", [*values, job.id, job.claim])
