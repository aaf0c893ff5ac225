"""The server's folder on disk: where an upload and a report lie, and who may look.

    jobs.sqlite3  uploads/ID.suffix  reports/ID.html  reports/ID.json  lock

An ID is ours and random; nothing a user sent ever becomes part of a path.
"""

from __future__ import annotations

import fcntl
import re
from pathlib import Path
from typing import IO

from mdcsd import storage
from mdcsd.errors import InputError
from mdcsd.inputs import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from mdcsd.web.jobs import Job, JobStore

_KINDS = "|".join(sorted(each[1:] for each in IMAGE_SUFFIXES | VIDEO_SUFFIXES))
_OURS = re.compile(
    rf"\.?(?P<id>[\w-]{{32}})\.(?P<kind>part|html|json|{_KINDS})(?P<half>\..*tmp)?", re.ASCII
)


class DataFolder:
    """Paths below one data folder."""

    def __init__(self, root: Path) -> None:
        """Make the folder, with access for its owner only; one that is there keeps its mode.

        Raises: InputError if it cannot be made, or if it holds files that are not ours.
        """
        self.root = root
        self.uploads = root / "uploads"
        self.reports = root / "reports"
        queue = root / "jobs.sqlite3"
        if not queue.exists() and _holds_files(root):
            raise InputError(
                f"--data {root}: holds files that are not of this server. "
                "Give a new or an empty folder."
            )
        for folder in (root, self.uploads, self.reports):
            is_new = not folder.exists()
            storage.make_folder(folder)
            if is_new:
                folder.chmod(0o700)
        try:
            queue.touch(mode=0o600)
        except OSError as error:
            raise InputError(f"--data {root}: cannot be written ({error.strerror}).") from None

    def lock(self) -> IO[bytes]:
        """Take the folder for one server until the returned file is closed.

        Raises: InputError if another server has it.
        """
        file = open(self.root / "lock", "wb")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise InputError(
                f"{self.root}: another server uses this folder. Stop it, or give another --data."
            ) from None
        return file

    def upload(self, job: Job) -> Path:
        """Where a job's file lies until it is judged."""
        return self.uploads / f"{job.id}{job.suffix}"

    def part(self, job_id: str) -> Path:
        """Where a file grows while it is uploaded."""
        return self.uploads / f"{job_id}.part"

    def report(self, job: Job, suffix: str) -> Path:
        """Where a job's report lies; suffix ".html" or ".json"."""
        return self.reports / f"{job.id}{suffix}"

    def forget_upload(self, job: Job) -> None:
        """Delete a job's file."""
        self.upload(job).unlink(missing_ok=True)

    def forget(self, job: Job) -> None:
        """Delete a job's file and its report."""
        self.forget_upload(job)
        for suffix in (".html", ".json"):
            self.report(job, suffix).unlink(missing_ok=True)

    def tidy(self, store: JobStore) -> None:
        """Delete what no job owns: halves of uploads and reports that a kill left behind."""
        ids = store.ids()
        for path in (*self.uploads.iterdir(), *self.reports.iterdir()):
            ours = _OURS.fullmatch(path.name)
            if ours is None or not path.is_file():
                continue
            if ours["half"] or ours["kind"] == "part" or ours["id"] not in ids:
                path.unlink(missing_ok=True)


def _holds_files(root: Path) -> bool:
    """Tell a folder in use from one that a server made and left before its queue was there."""
    if not root.is_dir():
        return False
    for path in root.iterdir():
        is_bare = path.name in ("uploads", "reports") and path.is_dir() and not any(path.iterdir())
        if not is_bare and path.name != "lock":
            return True
    return False
