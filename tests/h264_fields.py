"""H.264 of fields coded each by itself (PAFF), which no encoder at hand makes: macroblocks of plain
samples (I_PCM) after ITU-T H.264, 7.3.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

_GROUP = 10  # frames from one IDR picture to the next


class _Bits:
    """Bits of one NAL unit."""

    def __init__(self) -> None:
        self._bits: list[int] = []

    def u(self, value: int, n: int) -> _Bits:
        self._bits += [value >> at & 1 for at in range(n - 1, -1, -1)]
        return self

    def ue(self, *values: int) -> _Bits:
        for value in values:
            n = (value + 1).bit_length()
            self.u(0, n - 1).u(value + 1, n)
        return self

    def samples(self, block: np.ndarray) -> _Bits:
        self._bits += np.unpackbits(np.ascontiguousarray(block)).tolist()
        return self

    def aligned(self) -> _Bits:
        return self.u(0, -len(self._bits) % 8)

    def nal(self, head: int) -> bytes:
        """Close the unit, with emulation prevention bytes."""
        raw = np.packbits(self.u(1, 1).aligned()._bits).tobytes()
        out, zeros = bytearray(), 0
        for byte in raw:
            if zeros >= 2 and byte <= 3:
                out.append(3)
                zeros = 0
            out.append(byte)
            zeros = 0 if byte else zeros + 1
        return b"\0\0\0\1" + bytes([head]) + bytes(out)


def grey(rgb: np.ndarray) -> np.ndarray:
    """The luma that is written, in full range and within the bounds of video."""
    return np.clip(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), 16, 235)


def write_fields(path: Path, moments: list[np.ndarray], every: int) -> Path:
    """Write a transport stream, 25 frames a second, of a field a moment, the upper ones first.

    Args:
        every: 1 stamps all packets with their time, 2 the first of each frame.
    """
    height, width = moments[0].shape[:2]
    units = []
    for number, rgb in enumerate(moments):
        key = number % (2 * _GROUP) == 0
        head = _Bits().u(0, 3).nal(9) + (_parameters(width, height) if key else b"")
        units.append(head + _field(grey(rgb)[number % 2 :: 2], number))
    raw = path.with_suffix(".h264")
    raw.write_bytes(b"".join(units))
    with av.open(str(raw), format="h264") as source, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        parts = (
            units if every == 1 else [a + b for a, b in zip(units[::2], units[1::2], strict=True)]
        )
        for number, part in enumerate(parts):
            packet = av.Packet(part)
            packet.stream, packet.time_base = stream, Fraction(every, 50)
            packet.pts = packet.dts = number
            packet.is_keyframe = number * every % (2 * _GROUP) == 0
            container.mux(packet)
    return path


def _parameters(width: int, height: int) -> bytes:
    """A sequence of Main profile with fields (7.3.2.1), 50 of them a second, and a picture set."""
    sps = _Bits().u(77, 8).u(0, 8).u(30, 8).ue(0, 0, 0, 4, 1).u(0, 1)
    sps.ue(width // 16 - 1, height // 32 - 1).u(0b0010, 4).u(1, 1)  # then what annex E says
    sps.u(0, 4).u(1, 1).u(1, 32).u(50, 32).u(1, 1).u(0, 3)
    sps.u(0b11, 2).ue(0, 0, 10, 10, 0, 1)
    pps = _Bits().ue(0, 0).u(0, 2).ue(0, 0, 0).u(0, 3).ue(0, 0, 0).u(0, 3)
    return sps.nal(0x67) + pps.nal(0x68)


def _field(luma: np.ndarray, number: int) -> bytes:
    """One slice (7.3.3) of a whole field, grey."""
    is_key, in_group = number % (2 * _GROUP) == 0, number % (2 * _GROUP)
    bits = _Bits().ue(0, 7, 0).u(in_group // 2, 4).u(1, 1).u(number % 2, 1)
    if is_key:
        bits.ue(number // (2 * _GROUP) % 2)
    bits.u(in_group, 8).u(0, 2 if is_key else 1).ue(0)
    rows, columns = luma.shape
    chroma = np.full((2, 8, 8), 128, np.uint8)
    for top in range(0, rows, 16):
        for left in range(0, columns, 16):
            block = luma[top : top + 16, left : left + 16]
            bits.ue(25).aligned().samples(block).samples(chroma)
    return bits.nal(0x65 if is_key else 0x61)
