"""`mdcsd evaluate`, `calibrate` and `datasets scan`, as a user calls them."""

from __future__ import annotations

import errno
import json
import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import MEDIA, save_noise
from mdcsd import video_scores
from mdcsd.calibration import calibrate
from mdcsd.checkpoint import load_checkpoint, save_checkpoint
from mdcsd.cli import main
from mdcsd.config import PrepareDatasetConfig
from mdcsd.datasets import scan_dataset, select
from mdcsd.detector import Detector
from mdcsd.errors import DataError, InputError, SettingError
from mdcsd.evaluation import evaluate
from mdcsd.inference import measure_shards
from mdcsd.judging_config import CalibrateConfig, EvaluateConfig
from mdcsd.metrics import AT_THRESHOLD
from mdcsd.nouns import VideoEntry, VideoKey
from mdcsd.perturb import SUITE, Perturbation
from mdcsd.prepare_dataset import prepare_dataset
from mdcsd.score_journal import ScoredVideo, ScoreJournal
from mdcsd.shard_set import open_shards
from mdcsd.split_writer import dataset_folder
from mdcsd.video_scores import score_videos
from trees import ClipMaker, make_celebdf


@pytest.fixture(scope="module")
def celebdf(portrait, tmp_path_factory):
    root = tmp_path_factory.mktemp("Celeb-DF-v2")
    make_celebdf(root, ClipMaker(MEDIA if MEDIA.is_dir() else None, portrait))
    return root


def run(*words, code=0):
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    assert (left.value.code or 0) == code


def test_a_data_set_as_downloaded(demo, celebdf, tmp_path, capsys):
    report_path, page = tmp_path / "report.json", tmp_path / "page.html"
    run("evaluate", "--weights", demo[0].checkpoint, "--data", f"celebdf2={celebdf}",
        "--frames", 3, "--draws", 30, "--recode", "jpeg=40", "--json", report_path,
        "--html", page, "--output", tmp_path / "out")  # fmt: skip
    said = capsys.readouterr().out
    assert "tell little, whatever the intervals say" in said  # a handful of people
    assert "celebdf2 Celeb-synthesis" in said and "encoded anew as jpeg 40" in said
    report = json.loads(report_path.read_text())
    auc = report["overall"]["video_auc"]
    assert (auc["n_real"], auc["n_fake"]) == (2, 2)  # the official test list, not all five
    assert report["checkpoint_id"] == load_checkpoint(demo[0].checkpoint).checkpoint_id
    assert report["threshold"]["source"].startswith("equal error on crops_color_raw_val_tf")
    assert report["frames_per_video"] == {"min": 3, "median": 3.0, "max": 3}
    assert set(report["recoded"]["overall"]) == set(report["overall"])
    assert report == json.loads((tmp_path / "out" / "report.json").read_text())
    assert "<svg" in page.read_text() and "Celeb-synthesis" in page.read_text()
    assert {"roc.png", "roc.svg", "det.svg"} <= {
        path.name for path in (tmp_path / "out" / "plots").iterdir()
    }
    run("evaluate", "--predictions", tmp_path / "out" / "predictions.csv", "--draws", 30,
        "--against", tmp_path / "out" / "predictions.csv", "--json", report_path)  # fmt: skip
    again = json.loads(report_path.read_text())
    for name, entry in report["overall"].items():
        if name.split("_", 1)[1] not in AT_THRESHOLD:  # which need the checkpoint's
            assert again["overall"][name] == pytest.approx(entry, nan_ok=True), name
    assert again["against"]["difference"]["video_auc"]["value"] == 0.0


def test_evaluate_scores_as_detect_does(demo, celebdf):
    path = celebdf / "Celeb-real" / "id0_0000.mp4"
    entry = VideoEntry(path, VideoKey("celebdf2", "original", "id0_0000"), 0)
    detector = Detector(demo[0].checkpoint)
    ours = score_videos(detector, [entry], 4).predictions
    detector.batch_size = 1  # as evaluate, a frame at a time: sums of a batch round otherwise
    theirs = detector.judge(path, n_frames=4).frames
    np.testing.assert_allclose(ours.score, [row.score for row in theirs], atol=1e-6)


def test_a_video_that_cannot_be_read_is_counted_and_exits_with_2(demo, celebdf, tmp_path, capsys):
    shutil.copytree(celebdf, tmp_path / "celeb")
    (tmp_path / "celeb" / "Celeb-real" / "id0_0000.mp4").write_bytes(b"no video")
    report_path = tmp_path / "report.json"
    run("evaluate", "--weights", demo[0].checkpoint, "--data", f"celebdf2={tmp_path / 'celeb'}",
        "--frames", 2, "--draws", 5, "--json", report_path, "--output", tmp_path / "out",
        code=2)  # fmt: skip
    report = json.loads(report_path.read_text())
    assert (report["n_videos"], report["n_videos_cannot_judge"]) == (4, 1)
    assert "id0_0000.mp4" in capsys.readouterr().err


def test_every_perturbation_has_every_row(demo, celebdf):
    """The suite at its mildest and strongest; crops stay where they were found untouched."""
    entry = VideoEntry(
        celebdf / "Celeb-real" / "id0_0000.mp4", VideoKey("celebdf2", "original", "id0"), 0
    )
    versions = [each for each in SUITE if each.level in (1, 5)]
    detector = Detector(demo[0].checkpoint)
    scores = score_videos(detector, [entry], 3, versions)
    assert set(scores.perturbed) == set(versions)
    for version, table in scores.perturbed.items():
        assert table.keys == scores.predictions.keys, version
        assert np.abs(table.score - scores.predictions.score).max() > 0, version
    again = score_videos(detector, [entry], 3, versions)
    for version, table in scores.perturbed.items():
        np.testing.assert_array_equal(again.perturbed[version].score, table.score)


def test_an_interrupted_evaluation_goes_on(demo, celebdf, tmp_path, monkeypatch, capsys):
    """With the scores of a run that nothing interrupted, and without judging a video twice."""

    def words(output, frames=2):
        return ("evaluate", "--weights", demo[0].checkpoint, "--data", f"celebdf2={celebdf}",
                "--frames", frames, "--draws", 5, "--recode", "jpeg=40",
                "--output", output)  # fmt: skip

    run(*words(tmp_path / "whole"))
    judged = []
    judge = video_scores._score_entry

    def interrupted(detector, entry, *rest):
        if len(judged) == 2:
            raise KeyboardInterrupt
        judged.append(entry.key)
        return judge(detector, entry, *rest)

    monkeypatch.setattr(video_scores, "_score_entry", interrupted)
    run(*words(tmp_path / "cut"), code=130)
    (journal,) = (tmp_path / "cut").iterdir()
    assert journal.match(".judged-*.jsonl")
    journal.write_bytes(journal.read_bytes()[:-20])  # as a crash leaves the last line

    def counted(detector, entry, *rest):
        judged.append(entry.key)
        return judge(detector, entry, *rest)

    monkeypatch.setattr(video_scores, "_score_entry", counted)
    shutil.copytree(tmp_path / "cut", tmp_path / "other")
    run(*words(tmp_path / "cut"))
    assert "1 video(s) were judged before the interruption" in capsys.readouterr().err
    assert not journal.exists() and len(judged) == 2 + 3 and judged[1] == judged[2]
    whole, cut = (
        json.loads((tmp_path / name / "report.json").read_text()) for name in ("whole", "cut")
    )
    assert whole.pop("made") != cut.pop("made") and whole == cut
    assert (tmp_path / "whole" / "predictions.csv").read_bytes() == (
        tmp_path / "cut" / "predictions.csv"
    ).read_bytes()

    judged.clear()
    run(*words(tmp_path / "other", frames=3))  # other frames: nothing of it counts
    assert len(judged) == 4


def test_a_journal_knows_a_file_by_more_than_its_name(tmp_path):
    path, pictures = tmp_path / "a.mp4", tmp_path / "crops"
    path.write_bytes(b"one")
    pictures.mkdir()
    (pictures / "0.png").write_bytes(b"one")
    entry = VideoEntry(path, VideoKey("c", "original", "a"), 0)
    crops = replace(entry, path=pictures, crop_scale=1.3, compression="c23")
    scored = ScoredVideo(((0, 4, 0),), ((0.25,), (0.5,)), 3, np.arange(3, dtype=np.float32))
    unread = ScoredVideo(error="unreadable")

    def judged_anew(*asked):
        journal = ScoreJournal(tmp_path, {"frames": 3})
        found = [journal.get(each, lambda: unread) for each in asked]
        assert journal.n_found == sum(each is not unread for each in found)
        return [each is unread for each in found]

    journal = ScoreJournal(tmp_path, {"frames": 3})
    for each in (entry, crops):
        assert journal.get(each, lambda: scored) is scored
    assert journal.get(replace(entry, compression="c40"), lambda: unread) is unread
    with open(journal.path, "ab") as file:  # a whole line that is damaged, one that is cut off
        file.write(b"\0\0\n{}\n" + journal.path.read_bytes()[:50])
    again = ScoreJournal(tmp_path, {"frames": 3}).get(entry, lambda: unread)
    assert again.features.tolist() == [0.0, 1.0, 2.0]
    assert replace(again, features=None) == replace(scored, features=None)
    others = replace(entry, compression="c40"), replace(entry, crop_scale=1.3)
    assert judged_anew(entry, crops, *others) == [False, False, True, True]
    assert ScoreJournal(tmp_path, {"frames": 4}).get(entry, lambda: unread) is unread
    path.write_bytes(b"another")
    (pictures / "0.png").write_bytes(b"another")
    assert judged_anew(entry, crops) == [True, True]
    path.unlink()
    assert judged_anew(entry) == [True]
    journal.remove()
    assert not list(tmp_path.glob(".judged*"))


def test_a_full_disk_is_no_fault_of_the_video(demo, celebdf, tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(video_scores, "recode_video", full)
    run("evaluate", "--weights", demo[0].checkpoint, "--data", f"celebdf2={celebdf}",
        "--frames", 1, "--recode", "h264=35", "--output", tmp_path / "out", code=2)  # fmt: skip
    assert "set TMPDIR to another folder" in capsys.readouterr().err
    assert not (tmp_path / "out" / "report.json").exists()


def test_robustness_holds_one_frame_of_each_version_at_a_time(demo, celebdf, monkeypatch):
    """Memory does not grow with videos or frames: no call sees more than one frame's faces."""
    seen = []
    score = Detector.score
    monkeypatch.setattr(
        Detector, "score", lambda self, crops: seen.append(len(crops)) or score(self, crops)
    )
    entries = [
        VideoEntry(celebdf / "Celeb-real" / f"id{i}_0000.mp4", VideoKey("c", "original", f"{i}"), 0)
        for i in range(2)
    ]
    score_videos(Detector(demo[0].checkpoint), entries, 4, [Perturbation("jpeg", 0, 60.0)])
    assert max(seen) <= 1 and len(seen) == 2 * 4 * 2


def test_records_as_data(demo, test_set, tmp_path):
    config = EvaluateConfig(weights=str(demo[0].checkpoint), data=(f"demo={test_set}",), draws=20)
    report = evaluate(config).report
    assert report["n_frames"] == 64 and report["tsne"] is None  # four videos are too few
    assert report["warnings"] == [f"{test_set}: its records say crops, and so do the tables"]
    named = replace(config, data=(f"crops={test_set}",))
    assert evaluate(named).report["warnings"] == []
    other = EvaluateConfig(weights=config.weights, data=config.data, split="val", draws=5)
    assert "records of split test" in evaluate(other).report["warnings"][0]
    with pytest.raises(InputError, match="need videos, not records"):
        evaluate(EvaluateConfig(weights=config.weights, data=config.data, recode="jpeg"))
    with pytest.raises(InputError, match="expected --data"):
        evaluate(EvaluateConfig())
    with pytest.raises(DataError, match=r"no row of compression c40\. There are: none stated"):
        evaluate(EvaluateConfig(weights=config.weights, data=config.data, compression="c40"))
    with pytest.raises(DataError, match=r"no manipulation Deepfaces\. Did you mean 'Deepfakes'"):
        evaluate(
            EvaluateConfig(weights=config.weights, data=config.data, manipulations=("Deepfaces",))
        )
    with pytest.raises(SettingError, match=r"evaluate\.frames = 5 is not read with records"):
        evaluate(EvaluateConfig(weights=config.weights, data=config.data, frames=5))


def test_calibrate_takes_sets_of_real_faces_alone_with_another(
    demo, val_set, train_set, tmp_path, capsys
):
    """Real faces of another kind raise the threshold of false alarms, and are named."""
    weights, alone = tmp_path / "mine.safetensors", tmp_path / "alone.safetensors"
    crops = tmp_path / "sharp" / "val" / "original"
    crops.mkdir(parents=True)
    for path in sorted((demo[1] / "crops" / "original").glob("*.png"))[:6]:
        shutil.copy(path, crops / f"sharp{path.name}")
    prepare_dataset(PrepareDatasetConfig(str(tmp_path / "sharp"), raw=True, color=True))
    (real_only,) = tmp_path.glob("sharp_color_raw_val_tf")
    run("calibrate", "--weights", demo[0].checkpoint, val_set, real_only, "--output", weights)
    fitted = load_checkpoint(weights).calibration.fitted_on
    run("calibrate", "--weights", demo[0].checkpoint, val_set, "--output", alone)
    before = load_checkpoint(alone).calibration.fitted_on
    assert fitted.startswith("crops_color_raw_val_tf + sharp_color_raw_val_tf: ")
    n_real, n_before = (int(re.search(r"(\d+) real", text)[1]) for text in (fitted, before))
    assert n_real > n_before
    capsys.readouterr()
    run("calibrate", "--weights", weights, real_only, code=2)
    assert "needs real and manipulated faces" in capsys.readouterr().err
    run("calibrate", "--weights", weights, val_set, val_set, code=2)
    assert "hold the same face twice" in capsys.readouterr().err


def test_calibrate_refuses_what_was_trained_on(demo, train_set, tmp_path):
    known = load_checkpoint(demo[0].checkpoint)
    provenance = {**known.provenance, "train_dataset": f"other_tf + {train_set.name}"}
    weights = tmp_path / "w.safetensors"
    save_checkpoint(replace(known, provenance=provenance), weights)
    stages = [{"train_dataset": provenance.pop("train_dataset")}, {}]
    earlier = tmp_path / "earlier.safetensors"
    save_checkpoint(replace(known, provenance={**provenance, "stages": stages}), earlier)
    with pytest.raises(DataError, match="was trained on it"):
        calibrate(CalibrateConfig(weights=str(earlier), val_datasets=(str(train_set),)))
    with pytest.raises(DataError, match="was trained on it"):
        calibrate(CalibrateConfig(weights=str(weights), val_datasets=(str(train_set),)))


def test_calibrate_changes_thresholds_and_not_the_order(demo, val_set, test_set, tmp_path, capsys):
    weights = tmp_path / "mine.safetensors"
    shutil.copy(demo[0].checkpoint, weights)
    before = load_checkpoint(weights)
    run("calibrate", "--weights", weights, val_set)
    after = load_checkpoint(weights)
    assert after.checkpoint_id == before.checkpoint_id
    # Training had fitted on the same set, without folding batch norms: later digits differ, and
    # how many of them hangs on the processor that trained.
    ours, theirs = asdict(after.calibration), asdict(before.calibration)
    assert ours.pop("fitted_on") == theirs.pop("fitted_on")
    assert ours == pytest.approx(theirs, rel=1e-3)
    said = capsys.readouterr().out
    assert "temperature" in said and str(weights) in said
    run("calibrate", "--weights", weights, tmp_path / "none_tf", code=2)
    run("calibrate", "--weights", weights, test_set, code=2)
    assert "a test set" in capsys.readouterr().err
    assert load_checkpoint(weights).calibration == after.calibration


def test_scan_counts_and_writes_a_catalogue(celebdf, tmp_path, capsys):
    catalogue = tmp_path / "catalogue.csv"
    (celebdf / "Celeb-real" / "id7_0000.mp4").touch()
    run("datasets", "scan", f"celebdf2={celebdf}", "--output", catalogue)
    captured = capsys.readouterr()
    assert "Celeb-synthesis" in captured.out and "id7_0000.mp4" in captured.err
    (celebdf / "Celeb-real" / "id7_0000.mp4").unlink()
    assert len(catalogue.read_text().splitlines()) == 6
    run("datasets", "scan", f"celebdf2={tmp_path}", code=2)
    assert "error:" in capsys.readouterr().err


def test_a_drawn_split_is_kept_beside_the_data(portrait, tmp_path):
    mine(tmp_path / "mine")
    first = scan_dataset("mine", tmp_path / "mine", seed=3)
    assert first.split_path == tmp_path / "mine" / "mdcsd_split_mine.csv"
    again = scan_dataset("mine", tmp_path / "mine", seed=4)  # what is kept wins over the seed
    assert [e.split for e in again.entries] == [e.split for e in first.entries]
    of: dict[str, set[str | None]] = {}
    for entry in first.entries:
        for source in entry.source_ids:
            of.setdefault(source, set()).add(entry.split)
    assert all(len(splits) == 1 for splits in of.values())
    assert {entry.split for entry in first.entries} == {"train", "val", "test"}
    Path(first.split_path).write_text("nonsense\n")
    with pytest.raises(DataError, match="not a split that mdcsd wrote"):
        scan_dataset("mine", tmp_path / "mine", seed=3)


def test_several_compressions_of_a_video_stay_apart(tmp_path):
    key = VideoKey("ffpp", "original", "000")
    entries = [VideoEntry(tmp_path, key, 0, "test", ("000",), name) for name in ("c23", "c40")]
    both = select(entries, "test")
    assert [entry.key.video_id for entry in both] == ["c23/000", "c40/000"]
    assert select(entries, "test", (), "c40") == entries[1:]
    with pytest.raises(
        DataError, match=r"split train, compression raw. There are ffpp c23 test: 1"
    ):
        select(entries, "train", (), "raw")


def mine(root: Path, numbers=range(30)) -> Path:
    """Files of a data set without a split: a scan decodes none of them."""
    for number in numbers:
        for name in (f"original/{number:03d}.mp4", f"swap/{number:03d}_{number ^ 1:03d}.mp4"):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
    return root


def test_videos_that_come_after_the_split_was_drawn_join_it(tmp_path):
    """Trap: they were in no split, and the scan gave another reason for it."""
    root = mine(tmp_path / "mine")
    before = {entry.key: entry.split for entry in scan_dataset("mine", root, 3).entries}
    mine(root, range(30, 40))
    scanned = scan_dataset("mine", root, 3)
    after = {entry.key: entry.split for entry in scanned.entries}
    assert {key: after[key] for key in before} == before
    assert len(after) == 80 and None not in after.values()
    assert "20 video(s) that came later" in scanned.split_rule
    again = scan_dataset("mine", root, 4)  # they are kept with the rest now
    assert {entry.key: entry.split for entry in again.entries} == after
    assert "later" not in again.split_rule
    for path in [*root.glob("*/00*"), *root.glob("*/03*")]:
        path.unlink()  # gone for now, as on another disk
    mine(root, range(40, 42))
    scan_dataset("mine", root, 5)
    mine(root, range(40))
    back = {entry.key: entry.split for entry in scan_dataset("mine", root, 6).entries}
    assert {key: back[key] for key in after} == after  # whoever comes back, nobody has moved
    assert scanned.split_path is not None
    scanned.split_path.write_bytes(b"video,split\n\xff\xfe,train\n")
    with pytest.raises(DataError, match="not a split that mdcsd wrote"):
        scan_dataset("mine", root, 3)


def test_the_seed_of_draws_does_not_move_a_split_that_cannot_be_kept(demo, tmp_path):
    """Trap: on a read-only root `--seed 7` would draw another split, and test what was trained."""
    root = mine(tmp_path / "mine")
    (root / "mdcsd_split_mine.csv").mkdir()  # as a root that may not be written

    def judged(**settings):
        config = EvaluateConfig(
            weights=str(demo[0].checkpoint), data=(f"mine={root}",), draws=0, tsne=False, **settings
        )
        evaluation = evaluate(config)
        videos = {video.key.video_id for video in evaluation.predictions.unjudged}
        return videos, " ".join(evaluation.report["warnings"])

    first, said = judged()
    assert judged(seed=7)[0] == first and "its split was drawn by seed 0" in said
    assert judged(split_seed=7)[0] != first
    assert "its split was drawn" not in judged(split="all")[1]


def test_a_compression_is_chosen_where_it_is_stated(tmp_path, demo):
    """One set states compressions, the other none: that one is taken whole."""
    tree = tmp_path / "FaceForensics"
    for compression in ("c23", "c40"):
        for name in ("000", "001"):
            path = tree / "original_sequences/youtube" / compression / "videos" / f"{name}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
    other = mine(tmp_path / "mine", range(4))
    data = (f"ffpp={tree}", f"mine={other}")
    config = EvaluateConfig(weights=str(demo[0].checkpoint), data=data, split="all", draws=0,
                            compression="c40", tsne=False)  # fmt: skip
    found = evaluate(config).predictions.unjudged
    assert [v.compression for v in found if v.key.dataset == "ffpp"] == ["c40", "c40"]
    assert sum(v.key.dataset == "mine" for v in found) == 8
    with pytest.raises(DataError, match=r"no video of compression raw\. There are: c23, c40"):
        evaluate(replace(config, compression="raw"))
    with pytest.raises(DataError, match=r"no manipulation Swap\. Did you mean 'swap'"):
        evaluate(replace(config, manipulations=("Swap",)))
    with pytest.raises(SettingError, match=r"batch_size = 5 is not read with videos"):
        evaluate(replace(config, batch_size=5))


def test_records_that_state_no_compression_stay_beside_videos_that_do(demo, test_set, tmp_path):
    tree = tmp_path / "FaceForensics/original_sequences/youtube/c23/videos/000.mp4"
    tree.parent.mkdir(parents=True)
    tree.write_bytes(b"x")
    config = EvaluateConfig(
        weights=str(demo[0].checkpoint), draws=0, split="all", compression="c23", tsne=False,
        data=(f"ffpp={tmp_path / 'FaceForensics'}", f"demo={test_set}"),
    )  # fmt: skip
    evaluation = evaluate(config)
    assert len(evaluation.predictions.score) == 64 and evaluation.n_unread == 1
    with pytest.raises(DataError, match="no face is left"):
        evaluate(
            EvaluateConfig(
                weights=config.weights, data=(f"fakes={_fakes_alone(tmp_path)}",
                f"demo={test_set}"), manipulations=("Deepfakes",),
            )
        )  # fmt: skip


def _fakes_alone(tmp_path: Path) -> Path:
    from conftest import save_noise

    for number in range(3):
        save_noise(tmp_path / "set/test/FaceSwap" / f"v{number}_0000.png", number)
    prepare = PrepareDatasetConfig(directory=str(tmp_path / "set"), raw=True, color=True)
    prepare_dataset(prepare)
    return dataset_folder(prepare, "test")


def test_features_of_one_face_a_video_are_kept(demo, test_set):
    """Memory: not those of every face."""
    checkpoint = load_checkpoint(demo[0].checkpoint)
    measured = measure_shards(checkpoint, open_shards(test_set), with_features=True)
    assert measured.features is not None and measured.feature_rows is not None
    assert measured.features.shape[0] == 4 and len(measured.origins) == 64
    videos = [measured.origins[row].key.video for row in measured.feature_rows]
    assert len(set(videos)) == 4
    logits = checkpoint.build().head(torch.tensor(measured.features)).detach()
    np.testing.assert_allclose(logits, measured.logits[measured.feature_rows], atol=1e-4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("dataset;manipulation;video_id\n", "not separated by commas"),
        ("dataset,manipulation\n", r"column\(s\) video_id"),
    ],
)
def test_tables_of_another_kind_are_told(tmp_path, content, message, capsys):
    table = tmp_path / "scores.csv"
    table.write_text(content)
    run("evaluate", "--predictions", table, code=2)
    assert re.search(message, capsys.readouterr().err)
    run("evaluate", "--predictions", tmp_path, code=2)
    assert "a folder. Expected a table" in capsys.readouterr().err


def test_what_is_not_read_is_refused(demo, celebdf, tmp_path, capsys):
    table = tmp_path / "scores.csv"
    table.write_text(
        "dataset,manipulation,video_id,frame_index,track_id,label,score\n"
        "a,original,1,0,0,0,.2\na,swap,2,0,0,1,.7\n"
    )
    for words, message in (
        (("--frames", 5), "error: --frames = 5 is not read with a table"),
        (("--robustness",), "--robustness needs videos"),
        (("--against-threshold", 0.3), "--against-threshold is read with --against only"),
        (("--json", tmp_path), "is a folder. Give the name of a file"),
    ):
        run("evaluate", "--predictions", table, *words, code=2)
        assert message in capsys.readouterr().err
    run("evaluate", "--weights", demo[0].checkpoint, "--data",
        f"celebdf2={celebdf / 'List_of_testing_videos.txt'}", code=2)  # fmt: skip
    assert "a file. Expected the folder of celebdf2" in capsys.readouterr().err


def test_no_table_that_is_read_is_written_over(demo, celebdf, test_set, tmp_path, capsys):
    rows = "dataset,manipulation,video_id,frame_index,track_id,label,score\na,original,1,0,0,0,.2\n"
    ours = tmp_path / "ours" / "predictions.csv"
    ours.parent.mkdir()
    ours.write_text(rows)
    run("evaluate", "--predictions", ours, "--output", ours.parent, code=2)
    assert "is read here, and would be overwritten" in capsys.readouterr().err
    weights = tmp_path / "best.safetensors"
    shutil.copy(demo[0].checkpoint, weights)
    before = tmp_path / "evaluate_faces_c40" / "predictions.csv"
    before.parent.mkdir()
    before.write_text(rows)
    data = ("--weights", weights, "--data", f"faces={test_set}", "--compression", "c40")
    run("evaluate", *data, "--against", before, code=2)
    assert "is read here, and would be overwritten" in capsys.readouterr().err
    assert ours.read_text() == before.read_text() == rows
    (tmp_path / "a_file").write_text("")
    run("evaluate", *data, "--html", tmp_path / "a_file" / "page.html", code=2)
    assert "cannot be written" in capsys.readouterr().err
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "a_file", "best.safetensors", "evaluate_faces_c40", "ours",
    ]  # fmt: skip


def test_a_split_that_training_did_not_have_is_told(demo, tmp_path):
    """Trap: of plain folders training draws its split of crops, `evaluate` of videos."""
    clips = tmp_path / "clips"
    shutil.copytree(demo[1] / "clips", clips)
    config = EvaluateConfig(
        weights=str(demo[0].checkpoint), data=(f"mine={clips}",), frames=1, draws=0, tsne=False,
        output=str(tmp_path / "out"),
    )  # fmt: skip
    (told,) = (each for each in evaluate(config).report["warnings"] if "split" in each)
    assert "that of the training of crops (80/10/10 by video" in told and "*_test_tf" in told
    whole = evaluate(replace(config, split="all"))
    assert not any("split" in each for each in whole.report["warnings"])


def test_crops_narrower_than_the_network_expects_are_judged_and_told(demo, tmp_path):
    for label in ("real", "fake"):
        for number in range(2):
            crop = tmp_path / f"{label}_test" / "0" / label / str(number) / "0.png"
            save_noise(crop, number)
    config = EvaluateConfig(
        weights=str(demo[0].checkpoint), data=(f"wilddeepfake={tmp_path}",), draws=0, tsne=False,
        output=str(tmp_path / "out"),
    )  # fmt: skip
    report = evaluate(config).report
    assert report["n_frames"] == 4
    assert any("taken as 1 times a detector's box" in each for each in report["warnings"])
