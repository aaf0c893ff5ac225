"""Judging a checkpoint: the report says what the rows say."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from mdcsd.checkpoint import load_checkpoint
from mdcsd.class_figures import class_figures
from mdcsd.config import PrepareDatasetConfig
from mdcsd.errors import CheckpointError, DataError, InputError
from mdcsd.evaluation import run_test
from mdcsd.evaluation_report import Rules
from mdcsd.inference import Measured, match_classes
from mdcsd.judging_config import TestConfig
from mdcsd.judging_nouns import UnjudgedVideo
from mdcsd.nouns import FrameKey, Origin, VideoKey
from mdcsd.prepare_dataset import prepare_dataset
from mdcsd.shard_set import open_shards
from mdcsd.split_writer import dataset_folder


def run(demo, test_set, **settings):
    return run_test(
        TestConfig(model=str(demo[0].checkpoint), test_dataset=str(test_set), draws=50, **settings)
    )


def test_report_and_predictions_agree(demo, test_set, tmp_path):
    evaluation = run(demo, test_set)
    evaluation.write(tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report == evaluation.report
    with open(tmp_path / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    label = np.array([int(row["label"]) for row in rows])
    score = np.array([float(row["score"]) for row in rows])
    overall = report["overall"]
    assert overall["frame_auc"]["value"] == pytest.approx(roc_auc_score(label, score))
    assert overall["frame_auc"]["n_real"] == int((label == 0).sum()) == 32
    assert report["accuracy"]["frame"]["value"] == pytest.approx(np.mean((score >= 0.5) == label))
    entropy = -np.mean(np.log(np.clip(np.where(label == 1, score, 1 - score), 1e-7, 1)))
    assert report["loss"]["frame"] == pytest.approx(entropy)
    assert overall["frame_log_loss"]["value"] == pytest.approx(entropy)
    assert report["n_frames"] == 64 and report["n_videos"] == 4
    matrix = np.array(report["confusion"]["frame"]["counts"])
    assert matrix.sum() == 64 and matrix.trace() / 64 == report["accuracy"]["frame"]["value"]
    assert np.array(report["confusion"]["video"]["counts"]).sum(axis=1).tolist() == [2, 2]
    real, fake = report["classes"]["frame"]
    assert (real["class_name"], real["n"], real["auc"]) == ("original", 32, None)
    assert fake["auc"] == overall["frame_auc"]["value"] and fake["eer"] is not None
    assert fake["recall"] == pytest.approx(np.mean(score[label == 1] >= 0.5))
    assert [row["n"] for row in report["classes"]["video"]] == [2, 2]
    videos = {}
    for row in rows:
        videos.setdefault((row["manipulation"], row["video_id"]), []).append(float(row["score"]))
    fakes = [np.mean(s) for (name, _), s in videos.items() if name != "original"]
    reals = [np.mean(s) for (name, _), s in videos.items() if name == "original"]
    wins = np.mean([fake > real for fake in fakes for real in reals])
    assert overall["video_auc"]["value"] == pytest.approx(wins)
    assert "highest of the persons" in report["pooling"]


def test_batch_size_does_not_change_the_scores(demo, test_set, tmp_path):
    one = run(demo, test_set, batch_size=7).predictions
    two = run(demo, test_set, batch_size=64).predictions
    assert one.keys == two.keys
    np.testing.assert_allclose(one.score, two.score, atol=1e-5)


def test_sizes_are_checked_only_if_given(demo, test_set, tmp_path):
    run(demo, test_set, image_size=(96, 96, 3))
    for size in ((128, 128, 3), (96, 96, 1)):
        with pytest.raises(DataError, match="trained on 96,96,3"):
            run(demo, test_set, image_size=size)
    with pytest.raises(DataError, match="trained on colour"):
        run(demo, test_set, grayscale=True)


def test_a_data_set_of_another_representation_is_refused(demo, noise_classes, tmp_path):
    prepare = PrepareDatasetConfig(directory=str(noise_classes), color=True)
    prepare_dataset(prepare)
    with pytest.raises(DataError, match=r"holds dct, .* prepare_dataset\.py --raw"):
        run(demo, dataset_folder(prepare, "test"))


def test_smaller_crops_are_refused_larger_ones_are_cut_down(demo, tmp_path):
    for scale, fits in ((1.05, False), (2.0, True)):
        prepare = PrepareDatasetConfig(
            directory=str(_noise(tmp_path / f"set{scale}")), raw=True, color=True, crop_scale=scale
        )
        prepare_dataset(prepare)
        folder = dataset_folder(prepare, "test")
        if fits:
            run(demo, folder)
        else:
            with pytest.raises(DataError, match="show less"):
                run(demo, folder)


def _noise(folder: Path) -> Path:
    from conftest import save_noise

    for number in range(5):
        for name in ("original", "fake"):
            save_noise(folder / "test" / name / f"v{number}_0000.png", number)
    return folder


def test_one_class_alone_is_measured_and_the_undefined_is_null(demo, tmp_path):
    from conftest import save_noise

    for number in range(4):
        save_noise(tmp_path / "set" / "test" / "original" / f"v{number}_0000.png", number)
    prepare = PrepareDatasetConfig(directory=str(tmp_path / "set"), raw=True, color=True)
    prepare_dataset(prepare)
    report = run(demo, dataset_folder(prepare, "test")).report
    assert report["overall"]["frame_auc"] == {
        "value": None, "low": None, "high": None, "n_real": 4, "n_fake": 0,
        "reason": "undefined: one class only",
    }  # fmt: skip
    assert report["accuracy"]["frame"]["value"] is not None


def test_two_classes_take_any_manipulation_and_tell_each_apart_in_the_report(demo, tmp_path):
    from conftest import save_noise

    for number, name in enumerate(("real", "FaceSwap", "Face2Face")):
        for video in range(3):
            save_noise(tmp_path / "set" / "test" / name / f"{video}x_0000.png", 10 * number + video)
    prepare = PrepareDatasetConfig(directory=str(tmp_path / "set"), raw=True, color=True)
    prepare_dataset(prepare)
    folder = dataset_folder(prepare, "test")
    shards = open_shards(folder)
    classes = match_classes(load_checkpoint(demo[0].checkpoint), shards)
    assert [classes.of_name[name] for name in ("real", "FaceSwap", "Face2Face")] == [0, 1, 1]
    evaluation = run(demo, folder)
    evaluation.write(tmp_path / "out")
    report = evaluation.report
    for level in ("frame", "video"):
        rows = report["classes"][level]
        assert [row["class_name"] for row in rows] == ["real", "Face2Face", "FaceSwap"]
        assert [row["n"] for row in rows] == [3, 3, 3]
        assert all(row["auc"] is not None for row in rows[1:])
        assert np.array(report["confusion"][level]["counts"]).shape == (3, 2)
    text = (tmp_path / "out" / "predictions.csv").read_text()
    assert text.count(",Face2Face,") >= 3 and ",Deepfakes," not in text


def test_unlabelled_images_get_scores_and_no_figures(demo, tmp_path):
    from conftest import save_noise

    for number in range(4):
        save_noise(tmp_path / "some" / f"face{number}.png", number)
    prepare = PrepareDatasetConfig(directory=str(tmp_path / "some"), raw=True, color=True)
    prepare_dataset(prepare)
    evaluation = run(demo, dataset_folder(prepare, "test"))
    evaluation.write(tmp_path / "out")
    for entry in evaluation.report["overall"].values():
        assert entry == {
            "value": None, "low": None, "high": None, "n_real": 0, "n_fake": 0,
            "reason": "undefined: no labelled rows",
        }  # fmt: skip
    with open(tmp_path / "out" / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert all(row["label"] == "" and 0 <= float(row["score"]) <= 1 for row in rows)


def test_float_lists_are_measured_like_records(demo, test_set, tmp_path):
    """The original layout knows neither names nor crop scale: the index does."""
    numbered = tmp_path / "crops"
    shutil.copytree(demo[1] / "crops", numbered)
    both = []
    for float_list in (False, True):
        prepare = PrepareDatasetConfig(
            directory=str(numbered), raw=True, color=True, float_list=float_list, shard_mb=3,
            output=str(tmp_path / f"{float_list}"),
        )  # fmt: skip
        prepare_dataset(prepare)
        folder = dataset_folder(prepare, "test")
        both.append(run(demo, folder))
        assert len(open_shards(folder).shards) > 1
    ours, old = both
    np.testing.assert_allclose(ours.predictions.score, old.predictions.score, atol=1e-6)
    names = [[origin.class_name for origin in each.predictions.origins] for each in both]
    assert names[0] == names[1]
    assert ours.predictions.label.tolist() == old.predictions.label.tolist()


def test_missing_things_are_named(demo, test_set, tmp_path):
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        run_test(TestConfig(model=str(tmp_path / "gone"), test_dataset=str(test_set)))
    with pytest.raises(InputError, match="MODEL"):
        run_test(TestConfig())


def _measured(rows, class_names):
    """Answers of a network of several classes: (manipulation, video, track, frame, class, p)."""
    origins = [
        Origin(FrameKey("a", name, video, track, frame), class_names[target], "", "", sampled)
        for name, video, track, frame, target, _, sampled in rows
    ]
    logits = torch.tensor([row[5] for row in rows]).log()
    return Measured(origins, torch.tensor([row[4] for row in rows]), logits)


def test_a_video_that_cannot_be_judged_is_of_no_class():
    """Trap: a coin toss taken for "original" makes an unjudged real video a right answer."""
    names = ("original", "A", "B")
    rows = [("original", "seen", 0, i, 0, [0.8, 0.1, 0.1], 5) for i in range(5)]
    rows += [("original", "glimpsed", 0, 0, 0, [0.9, 0.05, 0.05], 32)]
    rows += [("A", "duo", 0, i, 1, [0.1, 0.8, 0.1], 5) for i in range(5)]
    rows += [("A", "duo", 1, i, 0, [0.98, 0.01, 0.01], 5) for i in range(5)]  # its bystander
    measured = _measured(rows, names)
    lost = UnjudgedVideo(VideoKey("a", "C", "lost"), 1, "C")
    found = class_figures(measured, measured.predictions((lost,)), names, Rules(draws=10))
    confusion = found["confusion"]["video"]
    assert confusion["columns"] == [*names, "cannot judge"]
    assert dict(zip(confusion["rows"], confusion["counts"], strict=True)) == {
        "original": [1, 0, 0, 1], "A": [0, 1, 0, 0], "C": [0, 0, 0, 1],
    }  # fmt: skip
    assert found["accuracy"]["video"]["value"] == pytest.approx(2 / 3)  # C is no class of it


@pytest.mark.parametrize(("pool", "faces"), [("topk", 1), ("mean", 5)])
def test_class_probabilities_are_of_the_faces_that_make_the_score(pool, faces):
    names = ("original", "A", "B")
    high = [0.1, 0.2, 0.7]
    rows = [("B", "video", 0, i, 2, [0.6, 0.3, 0.1] if i else high, 5) for i in range(5)]
    rows += [("original", "other", 0, i, 0, [0.8, 0.1, 0.1], 5) for i in range(5)]
    measured = _measured(rows, names)
    found = class_figures(measured, measured.predictions(), names, Rules(draws=10, pool=pool))
    counts = dict(zip(*(found["confusion"]["video"][each] for each in ("rows", "counts")),
                      strict=True))  # fmt: skip
    assert counts["B"] == ([0, 0, 1] if faces == 1 else [1, 0, 0])
