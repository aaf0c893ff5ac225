"""TFRecord framing and tf.train.Example: the only file that knows bytes.

A file is a run of records: length (uint64, little endian), masked CRC-32C of the length,
the bytes of an Example, masked CRC-32C of them. TensorFlow reads what is written here, and
every checksum is verified when reading.

Sources: tensorflow/core/lib/io/record_writer.h (framing), tensorflow/core/example/*.proto
(messages), developers.google.com/protocol-buffers/docs/encoding (wire format).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import google_crc32c
import numpy as np
import numpy.typing as npt

from mdcsd.errors import RecordError

_HEADER = struct.Struct("<QI")
_CRC = struct.Struct("<I")

FeatureValue = bytes | Sequence[str] | npt.NDArray[np.float32] | npt.NDArray[np.int64]


class ShardWriter:
    """Writes records to one .tfrecords file that appears under its name when closed well."""

    def __init__(self, file: IO[bytes]) -> None:
        """Write to a file opened by `storage.writing`."""
        self._file = file
        self.n_bytes = 0

    def write(self, content: bytes) -> None:
        """Append one Example."""
        length = struct.pack("<Q", len(content))
        for part in (length, _masked_crc(length), content, _masked_crc(content)):
            self._file.write(part)
        self.n_bytes += _HEADER.size + len(content) + _CRC.size


class ShardReader:
    """Reads any record of a .tfrecords file, and verifies its checksums."""

    def __init__(self, path: Path) -> None:
        """Map the file and walk its lengths.

        Raises: RecordError if a length is damaged or the file ends in the middle of a record.
        """
        self.path = path
        if not path.is_file() or path.stat().st_size == 0:
            raise RecordError(f"{path}: no records (missing or empty file). Check the path.")
        self._bytes = np.memmap(path, dtype=np.uint8, mode="r")
        self._spans = list(self._walk())

    def __getstate__(self) -> dict[str, Any]:
        """Leave the bytes out: a loader process that is not forked maps the file itself."""
        return {**self.__dict__, "_bytes": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Map the file again."""
        self.__dict__.update(state)
        self._bytes = np.memmap(self.path, dtype=np.uint8, mode="r")

    def __len__(self) -> int:
        """Count the records."""
        return len(self._spans)

    def read(self, number: int) -> bytes:
        """Read one Example.

        Raises: RecordError if its bytes do not match their checksum.
        """
        start, end = self._spans[number]
        content = self._bytes[start:end].tobytes()
        if self._bytes[end : end + _CRC.size].tobytes() != _masked_crc(content):
            raise RecordError(
                f"{self.path}: record {number} is damaged (its checksum does not match). Copy the "
                "file again, or run prepare_dataset.py again."
            )
        return content

    def _walk(self) -> Iterator[tuple[int, int]]:
        position, number, size = 0, 0, len(self._bytes)
        while position < size:
            header = self._bytes[position : position + _HEADER.size].tobytes()
            whole = len(header) == _HEADER.size
            length = _HEADER.unpack(header)[0] if whole else 0
            if not whole or header[8:] != _masked_crc(header[:8]):
                raise RecordError(
                    f"{self.path}: record {number} is damaged (its length does not match its "
                    "checksum), or this is no TFRecord file. Run prepare_dataset.py again."
                )
            start = position + _HEADER.size
            position = start + length + _CRC.size
            if position > size:
                raise RecordError(
                    f"{self.path}: the file ends in the middle of record {number}. Copy it again, "
                    "or run prepare_dataset.py again."
                )
            yield start, start + length
            number += 1


def masked_crc32c(content: bytes) -> int:
    """Compute TFRecord's checksum: CRC-32C, rotated right by 15 bits, plus a constant."""
    crc: int = google_crc32c.value(content)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def encode_example(features: Mapping[str, FeatureValue]) -> bytes:
    """Encode features as `tf.train.Example`: bytes and texts, float32 or int64 arrays."""
    entries = b"".join(
        _field(1, _field(1, name.encode()) + _field(2, _encode_feature(value)))
        for name, value in features.items()
    )
    return _field(1, entries)


def decode_example(content: bytes) -> dict[str, Any]:
    """Decode a `tf.train.Example`: lists of bytes, float32 arrays, int64 arrays by name.

    Raises: RecordError if the bytes are no Example.
    """
    try:
        features = {}
        for _, message in _fields(content):
            for _, entry in _fields(message):
                parts = dict(_fields(entry))
                features[bytes(parts[1]).decode()] = _decode_feature(parts.get(2, b""))
        return features
    except (IndexError, KeyError, TypeError, ValueError, struct.error) as error:
        raise RecordError(f"not a tf.train.Example ({error}). Expected a face data set.") from None


def _masked_crc(content: bytes) -> bytes:
    return _CRC.pack(masked_crc32c(content))


def _varint(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF  # negative numbers travel as two's complement
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, payload: bytes) -> bytes:
    """One length-delimited field (wire type 2)."""
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _encode_feature(value: FeatureValue) -> bytes:
    if isinstance(value, bytes):
        return _field(1, _field(1, value))
    if not isinstance(value, np.ndarray):
        return _field(1, b"".join(_field(1, text.encode()) for text in value))
    if value.dtype.kind == "f":
        return _field(2, _field(1, value.astype("<f4").tobytes()))
    return _field(3, _field(1, b"".join(_varint(int(each)) for each in value)))


def _fields(content: Any) -> Iterator[tuple[int, Any]]:
    """Walk a message: (field number, bytes, or int for wire types 0 and 5)."""
    view, position = memoryview(content), 0
    while position < len(view):
        tag, position = _read_varint(view, position)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, position = _read_varint(view, position)
            yield number, value
            continue
        if wire == 5:
            length = 4
        elif wire == 2:
            length, position = _read_varint(view, position)
        else:
            raise ValueError(f"wire type {wire}")
        if position + length > len(view):
            raise ValueError("a field longer than its message")
        yield number, view[position : position + length]
        position += length


def _read_varint(view: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = view[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
        shift += 7


def _decode_feature(content: Any) -> Any:
    for kind, message in _fields(content):
        values = [value for _, value in _fields(message)]
        if kind == 1:
            return [bytes(value) for value in values]
        if kind == 2:
            return np.frombuffer(b"".join(values), "<f4")
        return np.array([number for value in values for number in _integers(value)], np.int64)
    return []


def _integers(value: Any) -> Iterator[int]:
    """Numbers of an int64 list, packed or one by one."""
    if isinstance(value, int):
        yield _signed(value)
        return
    position = 0
    while position < len(value):
        number, position = _read_varint(value, position)
        yield _signed(number)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
