"""How often each verdict falls, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mdcsd.judging_nouns import Calibration, Predictions, UnjudgedVideo
from mdcsd.nouns import FrameKey, Origin, VideoKey
from mdcsd.verdict_counts import count_verdicts, share_interval

CALIBRATION = Calibration(0.4, 0.7, 0.9, 1.0, "a test")


def rows_of(*videos: tuple[str, str, float]) -> Predictions:
    """One frame a video: (data set, manipulation, score)."""
    origins = [
        Origin(FrameKey(dataset, name, str(number), 0, 0), name, "", "", 1)
        for number, (dataset, name, _) in enumerate(videos)
    ]
    label = np.array([int(name != "original") for _, name, _ in videos])
    missed = UnjudgedVideo(VideoKey("portraits", "original", "x"), 0, "original")
    return Predictions(tuple(origins), label, np.array([v[2] for v in videos]), (missed,))


def test_verdicts_are_counted_by_set_and_class():
    table = rows_of(
        ("dfdc", "Deepfakes", 0.95), ("dfdc", "Deepfakes", 0.7), ("dfdc", "Deepfakes", 0.1),
        ("dfdc", "original", 0.5), ("portraits", "original", 0.39), ("portraits", "original", 0.8),
    )  # fmt: skip
    fakes, real, portraits = count_verdicts(table, CALIBRATION, "track")
    words = ("n", "likely_real", "uncertain", "likely_manipulated", "cannot_judge")
    assert (fakes["dataset"], fakes["manipulation"], fakes["label"]) == ("dfdc", "Deepfakes", 1)
    assert [fakes[word] for word in words] == [3, 1, 0, 2, 0]
    assert [real[word] for word in words] == [1, 0, 1, 0, 0]
    assert [portraits[word] for word in words] == [3, 1, 0, 1, 1]
    assert portraits["share_manipulated"]["value"] == pytest.approx(1 / 3)


def test_the_interval_of_a_share():
    """Clopper and Pearson's own kind of example: 10 trials."""
    assert share_interval(0, 100) == pytest.approx((0.0, 1 - 0.025 ** (1 / 100)))
    assert share_interval(10, 10) == pytest.approx((0.025 ** (1 / 10), 1.0))
    assert share_interval(3, 10) == pytest.approx((0.0667, 0.6525), abs=1e-4)
