"""Files on disk, whole or not at all.

Everything this package writes goes through here, but for encoded clips (`encoding.py`,
`video.py`) and TensorBoard's events, which other libraries write.

A file is written under a temporary name beside its place and renamed when complete, so an
interrupted run never leaves a half-written file that looks finished.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from mdcsd.errors import DataError, InputError


@contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that appears under its name only when the block succeeds.

    Raises: InputError if the folder cannot be made or written, or the disk is full; nothing
        is left behind then.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder. Give the name of a file to write.")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            yield file
        os.replace(temporary, path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        try:
            temporary.unlink(missing_ok=True)
        except OSError:
            pass  # the folder itself is out of reach: nothing was left in it


@contextmanager
def line_file(path: Path, kept: Sequence[str] = ()) -> Iterator[IO[str]]:
    """Open a text file that grows line by line as results come, one whole line a time.

    What it held is gone, but for the `kept` lines of an earlier run.

    Raises: InputError if it cannot be written.
    """
    if kept:
        write_text(path, "".join(f"{line}\n" for line in kept))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a" if kept else "w", encoding="utf-8") as file:
            yield file
    except OSError as error:
        raise _cannot_write(path, error) from error


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Keep other runs from writing a file, by a lock beside it that ends with the process.

    Raises: InputError if another run has it, or the folder cannot be written.
    """
    if fcntl is None:  # Windows
        yield
        return
    lock = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _lock(lock)
    except BlockingIOError:
        raise InputError(
            f"{path}: another run is writing it. Wait until it is done, or choose another name."
        ) from None
    except OSError as error:
        raise _cannot_write(path, error) from error
    with file:
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _lock(path: Path) -> IO[bytes]:
    """Open a file and lock it, the one that has the name once it is locked.

    On a file system without locks it is opened only.

    Raises: BlockingIOError if another process has it.
    """
    while True:
        file = open(path, "ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise
        except OSError:  # no locks here: better one run unguarded than none
            return file
        try:
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return file
        except FileNotFoundError:  # who held it has taken it away meanwhile
            pass
        file.close()


def append_line(path: Path, line: str) -> None:
    """Add a line to a text file, which is made if it is not there.

    Raises: InputError if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{line}\n")
    except OSError as error:
        raise _cannot_write(path, error) from error


def check_writable(path: Path) -> None:
    """Refuse a file that could not be written, before the work that makes it; nothing is made.

    Raises: InputError if it is a folder, or may not be made where it is to lie.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder. Give the name of a file to write.")
    nearest = next(each for each in path.absolute().parents if each.exists())
    if not nearest.is_dir():
        raise _cannot_write(path, NotADirectoryError(errno.ENOTDIR, f"{nearest} is a file"))
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise _cannot_write(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


def make_folder(path: Path) -> None:
    """Make a folder, and those above it.

    Raises: InputError if it cannot be made, or is a file.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(path, error) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file."""
    with writing(path) as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file as UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file that an earlier step wrote.

    Raises: DataError if it is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Check the path.") from None
    except ValueError:
        raise DataError(
            f"{path}: not JSON. Delete it and run the step that makes it again."
        ) from None


def sha256_of(path: Path) -> str:
    """Compute a file's SHA-256 as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fingerprint_of(path: Path, mask_path: Path | None = None) -> dict[str, Any]:
    """Tell a video, and its mask, from others of the same name, without reading them.

    Raises: OSError if one of them is gone.
    """
    stat, mask = path.stat(), mask_path.stat() if mask_path else None
    return {
        "source": str(path.resolve()),
        "bytes": stat.st_size,
        "mtime_ns": stat.st_mtime_ns,
        "mask": [mask.st_size, mask.st_mtime_ns] if mask else None,
    }


def _cannot_write(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{path}: cannot be written ({error.strerror or error}). Free space, or choose an output "
        "folder that you may write to."
    )
