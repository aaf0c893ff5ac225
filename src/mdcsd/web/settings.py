"""What the server accepts, how long it works, and what it keeps."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from mdcsd.config import check

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True)
class Limits:
    """Bounds of one server; whoever passes one is refused with a reason."""

    upload_bytes: int = 512 * 2**20
    """Bytes of one file."""
    duration_s: float = 900.0
    """Seconds of one video."""
    frame_pixels: int = 50_000_000
    """Pixels of one picture or frame: 8K video and 48-megapixel photographs pass."""
    jobs_in_all: int = 64
    """Files waiting or being judged, of everybody."""
    jobs_per_owner: int = 8
    """Files waiting or being judged, of one browser."""
    job_time_s: float = 300.0
    """Seconds of judging after which a file is given up."""
    keep_s: float = 3600.0
    """Seconds after its judging at which everything about a file is deleted."""
    attempts: int = 3
    """How often a file is tried whose judging ends with the death of the worker or the server."""
    upload_idle_s: float = 30.0
    """Seconds without a byte after which an upload is given up."""
    upload_time_s: float = 900.0
    """Seconds that one upload may take."""

    def __post_init__(self) -> None:
        """Refuse limits that admit nothing."""
        for name, value in vars(self).items():
            check(value > 0, f"limit {name} of {value}: expected more than 0.")


@dataclass(frozen=True)
class ServeSettings:
    """How one server runs."""

    weights: str
    """Checkpoint file."""
    data: Path = Path("runs/serve")
    """Folder for the queue, uploads and reports; made with access for its owner only."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8000
    """TCP port; 0 takes a free one."""
    workers: int = 1
    """Worker processes, each with the model loaded once."""
    gpus: int = 0
    """GPUs; worker number i takes GPU i modulo this number."""
    frames: int = 32
    """Frames sampled evenly over a video."""
    token: str | None = None
    """Bearer token that every request must carry; none lets everybody in."""
    allowed_hosts: tuple[str, ...] = ()
    """Names in the Host header that are answered besides the loopback ones and `host`."""
    limits: Limits = field(default_factory=Limits)
    """Bounds of what is accepted."""

    def __post_init__(self) -> None:
        """Refuse impossible numbers and a token that can be guessed."""
        check(0 <= self.port < 65536, f"--port {self.port}: expected 0 to 65535.")
        check(self.workers >= 1, f"--workers {self.workers}: expected 1 or more.")
        check(self.frames >= 1, f"--frames {self.frames}: expected 1 or more.")
        long_enough = self.token is None or len(self.token) >= 16
        check(
            long_enough, "the token is shorter than 16 characters. Make one: openssl rand -hex 32"
        )

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        address = _address(self.host)
        return self.host in LOOPBACK_HOSTS if address is None else address.is_loopback

    def answers_to(self, name: str) -> bool:
        """Whether a Host header's name, in small letters and without the port, is one of ours.

        A server on every address (0.0.0.0) also answers to addresses: those cannot be pointed here
        by a stranger's name server, as a name can.
        """
        known = {*LOOPBACK_HOSTS, self.host.lower(), *map(str.lower, self.allowed_hosts)}
        here = _address(self.host)
        is_everywhere = here is not None and here.is_unspecified
        return name in known or (is_everywhere and _address(name) is not None)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
