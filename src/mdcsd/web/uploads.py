"""A request's body -> a file on disk, bounded while it streams.

The body is the file itself. What it is, is read from its first bytes; its name and its declared
type decide nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from mdcsd.inputs import is_iso_picture
from mdcsd.web.jobs import JobStore
from mdcsd.web.settings import Limits

_SNIFF_BYTES = 1024
_BLOCK_BYTES = 1 << 20
_NAME_CHARACTERS = 120
_BARE_BOXES = (b"moov", b"mdat", b"wide", b"free", b"skip", b"styp")
"""What an MP4 or QuickTime file may begin with in place of ftyp."""
# After a refusal this much is read and thrown away, for this long: a sender that is cut off in
# the middle of sending would see a broken connection instead of the reason.
_DRAIN_BYTES = 16 << 20
_DRAIN_S = 3.0


class Refused(Exception):
    """An upload that is not taken: HTTP status, reason, and when to try again."""

    def __init__(self, status: int, reason: str, retry_after_s: int | None = None) -> None:
        """Keep what the answer will say."""
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Received:
    """A whole file on disk: its kind as a suffix, its SHA-256, its size."""

    suffix: str
    sha256: str
    n_bytes: int


class Admission:
    """Counts jobs and open uploads against the limits; for use on the event loop only."""

    def __init__(self, store: JobStore, limits: Limits, n_workers: int) -> None:
        """Start with no upload open."""
        self._store = store
        self._limits = limits
        self._n_workers = n_workers
        self._open: Counter[str] = Counter()
        self._senders: dict[str, str] = {}

    @contextmanager
    def place(self, owner: str, address: str) -> Iterator[None]:
        """Hold a place in the queue while a file is uploaded and entered.

        Args:
            owner: the browser that sends; "" for a program, which is known by its address.
            address: where the request comes from.

        Raises: Refused with 429 if everybody together, or this owner, has too many files.
        """
        in_all = self._store.count_in_flight() + self._open.total()
        if in_all >= self._limits.jobs_in_all:
            raise self._busy(f"{in_all} files are waiting or being judged: that is all there is "
                             "room for", in_all)  # fmt: skip
        who = owner or f"address {address}"
        own = self._open[who] + self._waiting(owner, address)
        if own >= self._limits.jobs_per_owner:
            raise self._busy(f"{own} of your files are waiting or being judged already", own)
        self._open[who] += 1
        try:
            yield
        finally:
            self._open[who] -= 1
            self._open += Counter()  # forget whoever has none open

    def sent(self, job_id: str, address: str) -> None:
        """Remember for as long as it is in flight that a program at an address sent a file."""
        self._senders[job_id] = address

    def _waiting(self, owner: str, address: str) -> int:
        if owner:
            return self._store.count_in_flight(owner)
        in_flight = self._store.ids_in_flight()
        self._senders = {each: at for each, at in self._senders.items() if each in in_flight}
        return sum(at == address for at in self._senders.values())

    def _busy(self, reason: str, n_waiting: int) -> Refused:
        # An eighth of what the waiting ones take: a place is free long before all are through.
        wait_s = self._store.usual_s() * n_waiting / self._n_workers / 8
        seconds = min(max(round(wait_s), 1), 30)
        return Refused(429, f"{reason}. Try again in {seconds} s.", seconds)


async def receive(
    body: AsyncIterator[bytes], claimed_bytes: int | None, part: Path, limits: Limits
) -> Received:
    """Write a body to `part`, hashing, measuring and sniffing it on the way.

    Args:
        body: the chunks as they come.
        claimed_bytes: what Content-Length says, if it says anything; never relied upon.
        part: where the file grows. It is gone after any refusal.
        limits: how large, how slow.

    Raises: Refused with 413, 415, 422 (empty), 408 or 400 (the sender is gone).
    """
    try:
        if claimed_bytes is not None and claimed_bytes > limits.upload_bytes:
            raise _too_large(limits)
        return await _write(body, part, limits)
    except ClientDisconnect:
        part.unlink(missing_ok=True)
        raise Refused(400, "the connection ended before the file did.") from None
    except BaseException:  # also a cancelled request: no half of a file stays behind
        part.unlink(missing_ok=True)
        raise


async def _write(body: AsyncIterator[bytes], part: Path, limits: Limits) -> Received:
    digest, n_bytes, head = hashlib.sha256(), 0, b""
    with open(part, "xb") as file:
        async for block in _blocks(body, limits):
            n_bytes += len(block)
            if n_bytes > limits.upload_bytes:
                raise _too_large(limits)
            if len(head) < _SNIFF_BYTES:
                head += block[:_SNIFF_BYTES]
                if len(head) >= _SNIFF_BYTES:
                    _kind(head)
            await run_in_threadpool(_put, file, digest.update, block)
    if n_bytes == 0:
        raise Refused(422, "the file is empty (0 bytes). Choose it again.")
    return Received(_kind(head), digest.hexdigest(), n_bytes)


def _put(file: IO[bytes], update: Callable[[bytes], None], block: bytes) -> None:
    file.write(block)
    update(block)


async def _blocks(body: AsyncIterator[bytes], limits: Limits) -> AsyncIterator[bytes]:
    """Gather chunks into blocks worth a trip to the disk, giving up on slow senders."""
    ends_s = time.monotonic() + limits.upload_time_s
    waiting: list[bytes] = []
    size = 0
    while True:
        patience_s = min(limits.upload_idle_s, ends_s - time.monotonic())
        try:
            chunk = await asyncio.wait_for(anext(body), max(patience_s, 0))
        except StopAsyncIteration:
            break
        except TimeoutError:
            raise Refused(408, "the upload was too slow and was given up. Try again.") from None
        waiting.append(chunk)
        size += len(chunk)
        if size >= _BLOCK_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    if size:
        yield b"".join(waiting)


async def drain(body: AsyncIterator[bytes]) -> None:
    """Take what a refused sender still sends, within bounds, so that it reads the refusal."""
    n_left = _DRAIN_BYTES

    async def read() -> None:
        nonlocal n_left
        async for chunk in body:
            n_left -= len(chunk)
            if n_left <= 0:
                return

    try:
        await asyncio.wait_for(read(), _DRAIN_S)
    except (TimeoutError, ClientDisconnect):
        pass


def _too_large(limits: Limits) -> Refused:
    return Refused(
        413, f"the file is larger than the {limits.upload_bytes // 2**20} MB taken here. Cut it."
    )


def _kind(head: bytes) -> str:
    suffix = sniff(head)
    if suffix is None:
        raise Refused(
            415,
            "the content is no video or picture that is judged here, whatever its name says. "
            "Expected mp4, mov, mkv, webm, avi, mpg, ts, mxf, dv, wmv, flv, ogv, gif, jpg, png, "
            "heic, avif, webp, tif or bmp.",
        )
    return suffix


def sniff(head: bytes) -> str | None:
    """Tell a file's kind by its first kilobyte.

    Returns: a suffix under which the decoders take it, or None for anything else.
    """
    starts = {
        b"\xff\xd8\xff": ".jpg",
        b"\x89PNG\r\n\x1a\n": ".png",
        b"GIF87a": ".gif",
        b"GIF89a": ".gif",
        b"\x1a\x45\xdf\xa3": ".mkv",
        b"\x00\x00\x01\xba": ".mpg",
        b"\x00\x00\x01\xb3": ".mpg",
        b"II*\x00": ".tif",
        b"MM\x00*": ".tif",
        b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02": ".mxf",
        b"\x1f\x07\x00": ".dv",
        b"FLV\x01": ".flv",
        b"OggS": ".ogv",
        b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": ".wmv",
    }
    for magic, suffix in starts.items():
        if head.startswith(magic):
            return suffix
    if head[:4] == b"RIFF":
        return {b"AVI ": ".avi", b"WEBP": ".webp"}.get(head[8:12])
    if head[4:8] == b"ftyp":
        return ".heic" if is_iso_picture(head) else ".mp4"
    if head[4:8] in _BARE_BOXES:
        return ".mp4"
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return ".bmp"
    if _is_transport_stream(head, 188, 0) or _is_transport_stream(head, 192, 4):  # AVCHD's, too
        return ".mpg"
    return None


def _is_transport_stream(head: bytes, packet: int, first: int) -> bool:
    """Whether three packets of so many bytes begin with the byte that they begin with."""
    starts = [head[first + i * packet : first + i * packet + 1] for i in range(3)]
    return starts == [b"\x47"] * 3


def shown_name(text: str) -> str:
    """Make what a user called a file fit for a line of text: last part, printable, not long."""
    last = PurePosixPath(text.replace("\\", "/")).name
    printable = "".join(letter for letter in last if letter.isprintable()).strip()
    return printable[:_NAME_CHARACTERS] or "unnamed file"
