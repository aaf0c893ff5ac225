"""Bytes: framing and Examples as TensorFlow writes and reads them."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdcsd import storage
from mdcsd.errors import RecordError
from mdcsd.tfrecord import ShardReader, ShardWriter, decode_example, encode_example, masked_crc32c

BY_TENSORFLOW = Path(__file__).parent / "data" / "tensorflow_example.tfrecords"


def write(path: Path, contents: list[bytes]) -> Path:
    with storage.writing(path) as file:
        writer = ShardWriter(file)
        for content in contents:
            writer.write(content)
    assert writer.n_bytes == path.stat().st_size
    return path


def test_masked_checksum_is_the_known_one():
    """CRC-32C of "123456789" is E3069283 (RFC 3720, B.4); masked by hand."""
    crc = 0xE3069283
    assert masked_crc32c(b"123456789") == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_a_file_by_tensorflow_is_read():
    reader = ShardReader(BY_TENSORFLOW)
    assert len(reader) == 3
    for number in range(3):
        features = decode_example(reader.read(number))
        assert features["image"].tolist() == [0.5, -1.0, number]
        assert features["label"].tolist() == [number]
        assert features["shape"].tolist() == [1, 3, 1]
        assert features["negative"].tolist() == [-5, 2**40]
        assert features["name"] == [b"a", b"bc"]
        assert len(features["empty"]) == 0


def test_rewriting_it_gives_the_same_records(tmp_path):
    reader = ShardReader(BY_TENSORFLOW)
    contents = [reader.read(number) for number in range(3)]
    assert write(tmp_path / "again.tfrecords", contents).read_bytes() == BY_TENSORFLOW.read_bytes()


def test_a_reader_goes_to_another_process_without_the_bytes(tmp_path):
    """Loader processes that are not forked would each hold the whole data set."""
    path = write(tmp_path / "a.tfrecords", [bytes(1_000_000)])
    sent = pickle.dumps(ShardReader(path))
    assert len(sent) < 1000 and pickle.loads(sent).read(0) == bytes(1_000_000)


@given(
    st.binary(max_size=300),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5),
    st.lists(st.floats(width=32, allow_nan=False), max_size=5),
    st.lists(st.text(max_size=10), max_size=3),
)
def test_examples_survive(blob, integers, floats, texts):
    features = {
        "blob": blob,
        "integers": np.array(integers, np.int64),
        "floats": np.array(floats, np.float32),
        "texts": texts,
    }
    back = decode_example(encode_example(features))
    assert back["blob"] == [blob]
    assert back["integers"].tolist() == integers
    assert back["floats"].tolist() == features["floats"].tolist()
    assert [text.decode() for text in back["texts"]] == texts


@given(st.binary(max_size=60))
def test_any_bytes_are_an_example_or_a_record_error(content):
    try:
        decode_example(content)
    except RecordError:
        pass


@pytest.fixture
def three(tmp_path) -> Path:
    return write(tmp_path / "three.tfrecords", [b"first" * 20, b"second" * 20, b"third" * 20])


def test_a_flipped_content_byte_is_refused_with_file_and_number(three):
    content = bytearray(three.read_bytes())
    content[12 + 100 + 4 + 12 + 30] ^= 1  # in the second record's content
    three.write_bytes(content)
    reader = ShardReader(three)
    assert reader.read(0) == b"first" * 20
    with pytest.raises(RecordError, match=r"three\.tfrecords: record 1 is damaged"):
        reader.read(1)


def test_every_flipped_byte_is_noticed(three):
    whole = three.read_bytes()
    for place in range(len(whole)):
        content = bytearray(whole)
        content[place] ^= 0x10
        three.write_bytes(content)
        with pytest.raises(RecordError):
            reader = ShardReader(three)
            for number in range(len(reader)):
                reader.read(number)


@pytest.mark.parametrize("kept", [1, 11, 13, 60, -1])
def test_a_cut_off_file_is_refused(three, kept):
    three.write_bytes(three.read_bytes()[:kept])
    with pytest.raises(RecordError, match=r"three\.tfrecords: (record|the file ends)"):
        ShardReader(three)


def test_an_empty_or_missing_file_is_refused(tmp_path):
    (tmp_path / "none.tfrecords").touch()
    for name in ("none.tfrecords", "gone.tfrecords"):
        with pytest.raises(RecordError, match="no records"):
            ShardReader(tmp_path / name)


def test_a_writer_that_fails_leaves_no_file(tmp_path):
    path = tmp_path / "partial.tfrecords"
    with pytest.raises(RuntimeError), storage.writing(path) as file:
        ShardWriter(file).write(b"something")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
