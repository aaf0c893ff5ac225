"""Reports out of scores: groups, levels, comparison, what is said beside the figures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mdcsd.comparison import compare
from mdcsd.errors import DataError
from mdcsd.evaluation_report import Rules, build_report, uncalibrated
from mdcsd.judging_nouns import Predictions, UnjudgedVideo
from mdcsd.metrics import auc, pool_predictions
from mdcsd.nouns import FrameKey, Origin

RULES = Rules(threshold=0.5, threshold_source="a test", draws=30)


def make(seed=0, n_videos=40, n_frames=6, datasets=("ffpp",), compressions=("c23",)):
    """Scores of videos of three classes, two of them manipulated."""
    rng = np.random.default_rng(seed)
    origins, label, score = [], [], []
    for dataset in datasets:
        for number in range(n_videos):
            name = ("original", "Deepfakes", "FaceSwap")[number % 3]
            compression = compressions[number % len(compressions)]
            middle = rng.normal(1.5 if number % 3 else 0.0)
            for frame in range(n_frames):
                key = FrameKey(dataset, name, f"{number:03d}", 0, frame)
                origins.append(Origin(key, name, compression, f"{number // 6}"))
                label.append(int(number % 3 > 0))
                score.append(1 / (1 + np.exp(-(middle + rng.normal(0, 0.5)))))
    return Predictions(tuple(origins), np.array(label), np.array(score))


def test_groups_hold_one_manipulation_and_all_real_ones():
    rows = make()
    report = build_report(rows, RULES)
    assert [group["manipulation"] for group in report["groups"]] == ["Deepfakes", "FaceSwap"]
    names = np.array([origin.class_name for origin in rows.origins])
    for group in report["groups"]:
        chosen = (names == group["manipulation"]) | (rows.label == 0)
        entry = group["metrics"]["frame_auc"]
        assert entry["value"] == pytest.approx(auc(rows.label[chosen], rows.score[chosen]))
        assert entry["low"] <= entry["value"] <= entry["high"]
        assert (entry["n_real"], entry["n_fake"]) == (84, 78)
    assert report["resampling"] == {"unit": "identities", "n_units": 7, "draws": 30, "seed": 0}


def test_several_data_sets_and_compressions_are_groups_and_pooled():
    report = build_report(make(datasets=("ffpp", "dfd"), compressions=("c23", "c40")), RULES)
    kinds = [(g["dataset"], g["manipulation"], g["compression"]) for g in report["groups"]]
    assert ("dfd", None, None) in kinds and ("ffpp", None, "c40") in kinds
    assert ("ffpp", "FaceSwap", "c23") in kinds
    assert report["overall"]["video_auc"]["n_real"] == 28
    assert report["resampling"]["n_units"] == 14  # an identity of one set is none of another


def test_the_order_of_rows_does_not_matter():
    rows = make()
    turned = rows.rows(np.arange(len(rows.score))[::-1])
    one, two = (build_report(each, replace(RULES, draws=0)) for each in (rows, turned))
    for name, entry in one["overall"].items():
        assert two["overall"][name]["value"] == pytest.approx(entry["value"]), name


def test_the_report_says_how_it_was_pooled_and_of_how_many_frames():
    """Trap: a video AUC beside a frame AUC, without either being named."""
    report = build_report(make(), RULES)
    assert report["frames_per_video"] == {"min": 6, "median": 6.0, "max": 6}
    assert "highest of the persons" in report["pooling"]
    mean = build_report(make(), replace(RULES, pool="mean"))
    assert mean["pooling"] == "mean over all judged faces"
    assert report["threshold"] == {"value": 0.5, "source": "a test"}


def test_curves_are_those_of_the_rows():
    rows = make()
    curves = build_report(rows, RULES)["curves"]["frame"]
    fpr, tpr = np.array(curves["roc"]["fpr"]), np.array(curves["roc"]["tpr"])
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    area = np.sum((tpr[1:] + tpr[:-1]) / 2 * np.diff(fpr))
    assert area == pytest.approx(auc(rows.label, rows.score), abs=0.01)
    assert sum(curves["reliability"]["n"]) == len(rows.score)
    assert sum(map(sum, curves["histogram"]["counts"].values())) == len(rows.score)


def test_comparison_is_paired_and_says_what_was_not_common():
    here, there = make(), make(seed=1)
    fewer = there.rows(np.arange(len(there.score) - 12))
    report = compare(here, fewer, "other.csv", RULES, None)
    assert report["common"] == {"frame": 228, "video": 38}
    assert report["only_here"] == {"frame": 12, "video": 2}
    rows = np.arange(228)
    expected = auc(here.label[rows], here.score[rows]) - auc(there.label[rows], there.score[rows])
    entry = report["difference"]["frame_auc"]
    assert entry["value"] == pytest.approx(expected)
    assert entry["low"] < entry["value"] < entry["high"]


def test_comparison_pairs_by_key_not_by_place():
    here = make()
    turned = here.rows(np.arange(len(here.score))[::-1])
    for entry in compare(here, turned, "turned.csv", RULES, 0.5)["difference"].values():
        assert entry["value"] == pytest.approx(0.0, abs=1e-12)


def test_what_cannot_be_compared_is_refused():
    rows = make()
    with pytest.raises(DataError, match="no labelled video in common"):
        compare(rows, make(datasets=("dfd",)), "other.csv", RULES, None)
    with pytest.raises(DataError, match="labels contradict"):
        compare(rows, replace(rows, label=1 - rows.label), "other.csv", RULES, None)


def test_without_its_temperature_a_sharp_network_is_worse_calibrated():
    rows = make()
    logit = np.log(rows.score) - np.log1p(-rows.score)
    cooled = replace(rows, score=1 / (1 + np.exp(-logit / 4)))  # what temperature 4 made of it
    before = uncalibrated(cooled, 4.0, RULES)
    expected = build_report(rows, RULES)["overall"]
    for name in ("frame_ece", "frame_brier", "frame_log_loss"):
        assert before[name]["value"] == pytest.approx(expected[name]["value"])


def test_people_that_no_mask_tells_apart_are_counted():
    """Trap: one of two people is altered, and both are called so."""

    def row(track, frame, label):
        return Origin(FrameKey("dfd", "DFD", "01_02", track, frame), "DFD"), label

    rows = [row(track, frame, 1) for track in (0, 1) for frame in range(6)]
    marked = [row(track, frame, int(track == 0)) for track in (0, 1) for frame in range(6)]
    for chosen, expected in ((rows, 1), (marked, 0)):
        origins, label = zip(*chosen, strict=True)
        predictions = Predictions(origins, np.array(label), np.full(12, 0.5))
        assert build_report(predictions, replace(RULES, draws=0))["n_videos_multi_face"] == expected


def test_a_table_without_identities_is_drawn_by_those_of_the_other():
    here = make()
    bare = replace(here, origins=tuple(origin._replace(identity="") for origin in here.origins))
    for one, two in ((here, bare), (bare, here)):
        for entry in compare(one, two, "bare.csv", RULES, 0.5)["difference"].values():
            assert (entry["low"], entry["high"]) == (0.0, 0.0)


def test_a_two_person_fake_is_of_its_manipulation_whoever_comes_first():
    origins, label = [], []
    for video in range(4):
        for track, name in enumerate(("original", "Deepfakes")):
            origins.append(Origin(FrameKey("dfd", "Deepfakes", f"{video}", track, 0), name))
            label.append(track)
    score = np.linspace(0, 1, 8)
    report = build_report(Predictions(tuple(origins), np.array(label), score), RULES)
    assert [group["manipulation"] for group in report["groups"]] == ["Deepfakes"]


def test_each_run_has_its_own_threshold_in_a_comparison():
    """Trap: one detector's threshold makes the other, on another scale, look useless."""
    here = make()
    halved = replace(here, score=here.score / 2)
    found = compare(here, halved, "halved.csv", RULES, 0.25)["difference"]
    assert found["video_balanced_accuracy"]["value"] == 0.0
    unknown = compare(here, halved, "halved.csv", RULES, None)["difference"]
    entry = unknown["video_balanced_accuracy"]
    assert (entry["value"], entry["reason"]) == (None, "undefined: no threshold")
    assert unknown["video_auc"]["value"] == 0.0


def test_a_video_that_one_run_cannot_judge_counts_against_it():
    """Trap: a detector that answers only where it is easy wins on what is left."""
    here = make()
    key = next(key for key, label in zip(here.keys, here.label, strict=True) if label == 1).video
    rows = [i for i, each in enumerate(here.keys) if each.video != key]
    lost = here.origins[here.keys.index(next(k for k in here.keys if k.video == key))]
    unjudged = UnjudgedVideo(key, 1, lost.class_name, lost.compression, lost.identity)
    there = replace(here.rows(np.array(rows)), unjudged=(unjudged,))
    report = compare(here, there, "shy.csv", RULES, 0.5)
    assert report["common"] == {"frame": 234, "video": 40}
    means = {each: (label, score) for each, (label, score) in
             pool_predictions(here, "track").items()}  # fmt: skip
    label = np.array([label for label, _ in means.values()])
    ours = np.array([score for _, score in means.values()])
    theirs = np.array([0.5 if each == key else score for each, (_, score) in means.items()])
    expected = auc(label, ours) - auc(label, theirs)
    assert report["difference"]["video_auc"]["value"] == pytest.approx(expected)
    assert expected != 0


def test_other_frames_of_the_same_videos_compare_by_video():
    here = make()
    later = tuple(o._replace(key=o.key._replace(frame_index=o.key.frame_index + 100))
                  for o in here.origins)  # fmt: skip
    report = compare(here, replace(here, origins=later), "later.csv", RULES, 0.5)
    assert report["common"] == {"frame": 0, "video": 40}
    assert report["difference"]["frame_auc"]["reason"] == "undefined: no labelled rows"
    assert report["difference"]["video_auc"]["value"] == 0.0


def test_a_group_holds_no_bystanders_of_another_manipulation():
    """Trap: the untouched people of FaceSwap are not what Deepfakes are measured against."""
    rows = [("original", "r", 0, 0, 0.1), ("Deepfakes", "d", 0, 1, 0.8),
            ("FaceSwap", "f", 0, 1, 0.7), ("FaceSwap", "f", 1, 0, 0.9)]  # fmt: skip
    origins = tuple(
        Origin(FrameKey("a", name, video, track, 0), "fake" if label else "real")
        for name, video, track, label, _ in rows
    )
    found = Predictions(origins, np.array([r[3] for r in rows]), np.array([r[4] for r in rows]))
    groups = {g["manipulation"]: g["metrics"] for g in build_report(found, RULES)["groups"]}
    assert set(groups) == {"Deepfakes", "FaceSwap"}  # whatever the class is called
    entry = groups["Deepfakes"]["frame_auc"]
    assert (entry["value"], entry["n_real"], entry["n_fake"]) == (1.0, 1, 1)
    assert groups["FaceSwap"]["frame_auc"]["n_real"] == 2  # its own people are in it
