"""How often each verdict falls, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mdcsd.evaluation_report import Rules
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
    fakes, real, portraits = count_verdicts(table, CALIBRATION, Rules())
    words = ("n", "likely_real", "uncertain", "likely_manipulated", "cannot_judge")
    assert (fakes["dataset"], fakes["manipulation"], fakes["label"]) == ("dfdc", "Deepfakes", 1)
    assert [fakes[word] for word in words] == [3, 1, 0, 2, 0]
    assert [real[word] for word in words] == [1, 0, 1, 0, 0]
    assert [portraits[word] for word in words] == [3, 1, 0, 1, 1]
    assert portraits["share_manipulated"]["value"] == pytest.approx(1 / 3)


def test_videos_of_one_person_are_drawn_together():
    """Forty videos of four people, two of whom always alarm: as uncertain as four videos."""
    origins = tuple(
        Origin(FrameKey("set", "original", str(i), 0, 0), "original", "", f"person {i % 4}", 1)
        for i in range(40)
    )
    score = np.array([0.9 if i % 4 < 2 else 0.1 for i in range(40)])
    (row,) = count_verdicts(Predictions(origins, np.zeros(40, int), score), CALIBRATION, Rules())
    share = row["share_manipulated"]
    assert share["value"] == 0.5 and share["low"] <= 0.25 and share["high"] >= 0.75
    calm = Predictions(origins, np.zeros(40, int), np.full(40, 0.1))
    (row,) = count_verdicts(calm, CALIBRATION, Rules())
    assert row["share_manipulated"]["high"] == pytest.approx(share_interval(0, 4)[1])


def test_the_interval_of_a_share():
    """Clopper and Pearson's own kind of example: 10 trials."""
    assert share_interval(0, 100) == pytest.approx((0.0, 1 - 0.025 ** (1 / 100)))
    assert share_interval(10, 10) == pytest.approx((0.025 ** (1 / 10), 1.0))
    assert share_interval(3, 10) == pytest.approx((0.0667, 0.6525), abs=1e-4)
