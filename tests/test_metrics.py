"""Figures against hand computation and scikit-learn; what is undefined stays undefined."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    log_loss,
    roc_auc_score,
    roc_curve,
)

from mdcsd.errors import InternalError
from mdcsd.judging_nouns import Predictions, UnjudgedVideo
from mdcsd.metrics import (
    Ranking,
    accuracy,
    auc,
    confusion,
    equal_error_rate,
    equal_error_threshold,
    false_alarm_threshold,
    map_features,
    pool_predictions,
    pool_video,
    row_losses,
    summed_figures,
)
from mdcsd.nouns import FrameKey, Origin, VideoKey

LABEL = np.array([0, 0, 0, 1, 1, 1])
SCORE = np.array([0.1, 0.4, 0.6, 0.5, 0.8, 0.9])


def test_auc_counts_pairs():
    pairs = [(fake > real) + 0.5 * (fake == real) for fake in SCORE[3:] for real in SCORE[:3]]
    assert auc(LABEL, SCORE) == pytest.approx(np.mean(pairs)) == pytest.approx(8 / 9)


def test_ties_count_half():
    assert auc(np.array([0, 1]), np.array([0.5, 0.5])) == 0.5
    assert equal_error_rate(np.array([0, 1]), np.array([0.5, 0.5])) == 0.5


def test_equal_error_rate_by_hand():
    assert equal_error_rate(LABEL, SCORE) == pytest.approx(1 / 3)
    assert equal_error_rate(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9])) == 0.0
    assert equal_error_rate(np.array([0, 0, 1, 1]), np.array([0.8, 0.9, 0.1, 0.2])) == 1.0


def test_one_class_is_undefined_not_a_half():
    for label in (np.zeros(3, int), np.ones(3, int)):
        assert auc(label, SCORE[:3]) is None
        assert equal_error_rate(label, SCORE[:3]) is None
    assert accuracy(np.array([], int), np.array([])) is None


def test_accuracy_and_confusion_by_hand():
    assert accuracy(LABEL, SCORE) == pytest.approx(5 / 6)
    assert confusion(np.array([0, 0, 2]), np.array([0, 1, 2]), 3).tolist() == [
        [1, 1, 0], [0, 0, 0], [0, 0, 1],
    ]  # fmt: skip


@given(
    st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=4, max_size=40), st.randoms()
)
def test_the_order_of_rows_does_not_matter(rows, random):
    label, score = (np.array(column) for column in zip(*rows, strict=True))
    order = list(range(len(rows)))
    random.shuffle(order)
    assert auc(label, score) == pytest.approx(auc(label[order], score[order]))
    assert equal_error_rate(label, score) == pytest.approx(
        equal_error_rate(label[order], score[order])
    )


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.sampled_from([0.0, 0.01, 0.05, 0.5]))
def test_false_alarms_stay_within_the_rate(real, rate):
    label, score = np.zeros(len(real), int), np.array(real)
    threshold = false_alarm_threshold(label, score, rate)
    alarms = np.mean((score >= threshold) & (score < 1.0))  # a score of 1 cannot be told apart
    assert alarms <= rate + 1e-9


def test_equal_error_threshold_separates_what_can_be_separated():
    threshold = equal_error_threshold(np.array([0, 0, 1, 1]), np.array([0.1, 0.3, 0.7, 0.8]))
    assert threshold == 0.5
    assert equal_error_threshold(LABEL, SCORE) == pytest.approx(0.55)


def test_thresholds_stand_between_scores_not_at_their_edge():
    """Two real and two manipulated videos far apart: nothing says that .02 is suspicious."""
    label, score = np.array([0, 0, 1, 1]), np.array([0.0, 0.01, 0.97, 0.99])
    assert false_alarm_threshold(label, score, 0.05) == pytest.approx(0.49)
    assert false_alarm_threshold(np.zeros(2, int), np.array([0.2, 0.4]), 0.05) == pytest.approx(0.7)
    many = np.linspace(0.0, 0.99, 100)
    threshold = false_alarm_threshold(np.zeros(100, int), many, 0.05)
    assert np.sum(many >= threshold) == 5


# Pooling


def track(*scores, start=0):
    return [(start + i, s) for i, s in enumerate(scores)]


def test_the_worst_person_makes_the_video():
    people = {0: track(*[0.1] * 20), 1: track(*[0.8] * 6, start=10)}
    assert pool_video(people, 32, "track") == pytest.approx(0.8)
    assert pool_video(people, 32, "mean") == pytest.approx((20 * 0.1 + 6 * 0.8) / 26)
    assert pool_video(people, 32, "topk") == pytest.approx(0.8)


def test_a_passing_ghost_does_not_count():
    people = {0: track(*[0.1] * 20), 1: track(0.99, 0.99)}
    assert pool_video(people, 32, "track") == pytest.approx(0.1)


def test_few_frames_need_a_fifth():
    assert pool_video({0: track(0.7)}, 1, "track") == 0.7
    assert pool_video({0: track(0.7)}, 5, "track") == 0.7
    assert pool_video({0: track(0.7)}, 6, "track") is None
    assert pool_video({0: track(*[0.7] * 4)}, 32, "track") is None
    assert pool_video({0: track(*[0.7] * 5)}, 32, "track") == pytest.approx(0.7)


def test_nobody_is_nothing():
    for pool in ("track", "mean", "topk"):
        assert pool_video({}, 32, pool) is None


def predictions(rows):
    keys = tuple(FrameKey("ffpp", m, v, t, f) for m, v, t, f, _, _ in rows)
    label = np.array([row[4] for row in rows])
    origins = tuple(Origin(key, row[0]) for key, row in zip(keys, rows, strict=True))
    return Predictions(origins, label, np.array([r[5] for r in rows]))


def test_one_name_in_four_manipulations_is_four_videos():
    """Grouped by name alone this gives a video AUC of 1.0; the truth is .5."""
    fakes = [("Deepfakes", 0.9), ("Face2Face", 0.9), ("FaceSwap", 0.1), ("NeuralTextures", 0.1)]
    rows = [(name, "000_003", 0, 0, 1, score) for name, score in fakes]
    rows.append(("original", "000", 0, 0, 0, 0.3))
    pooled = pool_predictions(predictions(rows), "track")
    assert len(pooled) == 5
    label, score = (np.array(column) for column in zip(*pooled.values(), strict=True))
    assert auc(label, score.astype(float)) == 0.5


def test_rows_told_twice_and_nan_are_refused():
    row = ("Deepfakes", "000_003", 0, 0, 1, 0.5)
    with pytest.raises(InternalError, match="twice"):
        predictions([row, row])
    with pytest.raises(InternalError, match="NaN"):
        predictions([(*row[:5], float("nan"))])


@st.composite
def labelled_scores(draw):
    """Both classes, ties likely; scores on a grid of hundredths."""
    n = draw(st.integers(4, 60))
    label = np.array(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    label[:2] = (0, 1)
    grid = draw(st.lists(st.integers(0, 100), min_size=n, max_size=n))
    return label, np.array(grid) / 100


@given(labelled_scores(), st.integers(0, 2**31))
def test_ranked_figures_agree_with_scikit_learn(rows, seed):
    label, score = rows
    weight = np.random.default_rng(seed).integers(0, 4, len(label)).astype(float)
    weight[:2] = 1.0
    for weights in (None, weight):
        curve = Ranking(label, score).curve(weights)
        assert curve.auc() == pytest.approx(roc_auc_score(label, score, sample_weight=weights))
        expected = average_precision_score(label, score, sample_weight=weights)
        assert curve.average_precision() == pytest.approx(expected)
        alarms, hits, _ = roc_curve(label, score, sample_weight=weights, drop_intermediate=False)
        for rate in (0.01, 0.05, 0.5):
            assert curve.hit_rate_at(rate) == pytest.approx(hits[alarms <= rate + 1e-9].max())
        eer = curve.equal_error_rate()  # where the curve meets the falling diagonal
        below, above = np.interp([eer - 1e-9, eer + 1e-9], alarms, hits)
        assert below - 1e-6 <= 1.0 - eer <= above + 1e-6


@given(labelled_scores())
def test_summed_figures_agree_with_scikit_learn(rows):
    label, score = rows
    found = summed_figures(row_losses(label, score, 0.5).sum(axis=0))
    assert found["brier"] == pytest.approx(brier_score_loss(label, score))
    clipped = np.clip(score, 1e-7, 1 - 1e-7)
    assert found["log_loss"] == pytest.approx(log_loss(label, clipped))
    expected = balanced_accuracy_score(label, score >= 0.5)
    assert found["balanced_accuracy"] == pytest.approx(expected)


def test_ece_by_hand():
    """Two bins: .05 twice, one of them manipulated (gap .45); .95 twice, both (gap .05)."""
    label, score = np.array([0, 1, 1, 1]), np.array([0.05, 0.05, 0.95, 0.95])
    found = summed_figures(row_losses(label, score, None).sum(axis=0))
    assert found["ece"] == pytest.approx(0.5 * 0.45 + 0.5 * 0.05)


def test_a_video_is_as_fake_as_its_worst_person():
    """Trap: the mean over faces hides the one of two people who was altered."""
    people = ((0, 0, 0.1), (1, 1, 0.9))
    rows = [("F", "v", track, i, label, score) for track, label, score in people for i in range(9)]
    pooled = pool_predictions(predictions(rows), "track")
    assert list(pooled.values()) == [(1, pytest.approx(0.9))]


def test_a_video_without_a_face_is_no_real_one():
    missed = UnjudgedVideo(VideoKey("ffpp", "F", "gone"), 1, "F")
    some = predictions([("F", "v", 0, 0, 1, 0.9)])
    pooled = pool_predictions(replace(some, unjudged=(missed,)), "track")
    assert pooled[missed.key] == (1, None) and len(pooled) == 2


def test_features_are_laid_out_by_their_likeness():
    rng = np.random.default_rng(0)
    groups = np.repeat([0, 1], 20)
    plane = map_features(rng.normal(size=(40, 8)) + 20.0 * groups[:, None], 0)
    middle = [plane[groups == group].mean(axis=0) for group in (0, 1)]
    spread = max(plane[groups == group].std() for group in (0, 1))
    assert plane.shape == (40, 2) and np.linalg.norm(middle[0] - middle[1]) > spread
