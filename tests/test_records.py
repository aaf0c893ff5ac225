"""Records: what goes into a data set comes out again, and TensorFlow reads it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from mdcsd.errors import DataError, RecordError
from mdcsd.nouns import FrameKey
from mdcsd.records import (
    FaceRecord,
    FloatListFacts,
    decode_record,
    encode_float_list,
    encode_record,
)
from mdcsd.shard_set import open_shards
from mdcsd.tfrecord import ShardReader, decode_example, encode_example

KEY = FrameKey("ffpp", "Deepfakes", "000_003", 1, 250)


def record(representation="raw", channels=3) -> FaceRecord:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (20, 20, channels), dtype=np.uint8)
    return FaceRecord(
        image=pixels
        if representation == "raw"
        else rng.normal(size=(20, 20, channels)).astype("f4"),
        representation=representation,
        key=KEY,
        label=1,
        class_name="Deepfakes",
        source_ids=("000", "003"),
        compression="c23",
        time_s=10.0,
        box_xyxy_px=(-3.0, 4.0, 100.0, 107.0),
        confidence=0.75,
        crop_scale=1.3,
    )


@pytest.mark.parametrize("representation", ["raw", "dct", "dct_log_scaled"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_record_survives_whole(representation, channels):
    before = record(representation, channels)
    after = decode_record(encode_record(before), 0)
    np.testing.assert_array_equal(after.image, before.image)
    assert after.image.dtype == before.image.dtype
    for name in ("representation", "key", "label", "class_name", "source_ids", "compression",
                 "time_s", "box_xyxy_px", "confidence", "crop_scale"):  # fmt: skip
        assert getattr(after, name) == getattr(before, name), name


def test_the_original_layout_has_its_three_features_and_no_more():
    before = record()
    features = decode_example(encode_float_list(before))
    assert set(features) == {"image", "label", "shape"}
    assert features["image"].tolist() == before.image.astype(float).ravel().tolist()
    after = decode_record(encode_float_list(before), 7)
    np.testing.assert_array_equal(after.image, before.image)
    assert (after.label, after.key.video_id) == (1, "record 7")
    facts = FloatListFacts("raw", 1.5, ("2", "1", "0"))
    named = decode_record(encode_float_list(before), 7, facts)
    assert (named.class_name, named.crop_scale) == ("1", 1.5)


def test_a_foreign_example_is_refused():
    with pytest.raises(RecordError, match="record 4 is not a face record"):
        decode_record(encode_example({"text": ["hello"]}), 4)


def test_a_later_format_is_refused():
    features = decode_example(encode_record(record()))
    later = {
        name: value[0] if isinstance(value, list) else value for name, value in features.items()
    }
    later["format_version"] = np.array([99], np.int64)
    with pytest.raises(RecordError, match="format version 99"):
        decode_record(encode_example(later), 0)


def test_a_folder_without_an_index_is_unfinished(tmp_path):
    with pytest.raises(DataError, match=r"no index\.json"):
        open_shards(tmp_path)
    with pytest.raises(DataError, match="no such data set"):
        open_shards(tmp_path / "gone")


def test_a_single_file_is_described_as_its_folder(train_set, tmp_path):
    folder = open_shards(train_set)
    alone = tmp_path / train_set.name / "data.tfrecords"
    alone.parent.mkdir()
    shutil.copy(train_set / "data.tfrecords", alone)
    single = open_shards(alone)
    assert single.split is None
    for name in ("class_names", "counts", "representation", "channels", "crop_scale", "shape"):
        assert getattr(folder, name) == getattr(single, name), name


def test_a_file_beside_its_index_is_what_that_says(train_set, tmp_path):
    """Else a test set given by its file could be trained on, and lost its faceless videos."""
    assert open_shards(train_set / "data.tfrecords") == open_shards(train_set)
    copy = tmp_path / train_set.name
    shutil.copytree(train_set, copy)
    index = json.loads((copy / "index.json").read_text())
    (shard,) = index["shards"]
    second = {**shard, "name": "data-00001-of-00002.tfrecords"}
    shutil.copy(copy / shard["name"], copy / second["name"])
    (copy / "index.json").write_text(json.dumps({**index, "shards": [shard, second]}))
    with pytest.raises(DataError, match="one of 2 parts of a data set"):
        open_shards(copy / second["name"])


def test_a_shard_of_another_size_than_indexed_is_refused(train_set, tmp_path):
    copy = tmp_path / train_set.name
    shutil.copytree(train_set, copy)
    with open(copy / "data.tfrecords", "ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match="another size"):
        open_shards(copy)


def test_tensorflow_reads_our_records(train_set):
    """Optional: needs `pip install tensorflow-cpu`."""
    tf = pytest.importorskip("tensorflow")
    path = train_set / "data.tfrecords"
    theirs = [bytes(content.numpy()) for content in tf.data.TFRecordDataset(str(path))]
    reader = ShardReader(path)
    assert len(theirs) == len(reader)
    for number, content in enumerate(theirs):
        assert content == reader.read(number)
        example = tf.train.Example.FromString(content)
        ours = decode_record(content, number)
        png = tf.io.decode_png(example.features.feature["image"].bytes_list.value[0]).numpy()
        np.testing.assert_array_equal(png, ours.image)
        assert example.features.feature["label"].int64_list.value[0] == ours.label
        assert (
            example.features.feature["video_id"].bytes_list.value[0].decode() == ours.key.video_id
        )
