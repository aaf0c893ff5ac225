"""Writes tensorflow_example.tfrecords with TensorFlow itself; run once, our reader is tested on it.

python tests/data/tensorflow_example.py
"""

from pathlib import Path

import tensorflow as tf


def main() -> None:
    """Write three Examples of all kinds of features."""
    with tf.io.TFRecordWriter(str(Path(__file__).with_suffix(".tfrecords"))) as writer:
        for number in range(3):
            features = {
                "image": tf.train.Feature(float_list=tf.train.FloatList(value=[0.5, -1.0, number])),
                "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[number])),
                "shape": tf.train.Feature(int64_list=tf.train.Int64List(value=[1, 3, 1])),
                "negative": tf.train.Feature(int64_list=tf.train.Int64List(value=[-5, 2**40])),
                "name": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"a", b"bc"])),
                "empty": tf.train.Feature(int64_list=tf.train.Int64List(value=[])),
            }
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())


if __name__ == "__main__":
    main()
