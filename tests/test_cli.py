"""The front door: the paper's command lines word for word, and one clear line for bad input."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import save_sound
from mdcsd.cli import join_brackets, main, options

ROOT = Path(__file__).resolve().parents[1]


def call(*words: object, program: str = "mdcsd") -> int:
    """Run a command in this process; return its exit code."""
    with pytest.raises(SystemExit) as leaving:
        main([str(word) for word in words], program)
    return leaving.value.code or 0


def refused(capsys, *words: object, program: str = "mdcsd") -> str:
    """Run a command that must fail with 2 and one line; return the line."""
    assert call(*words, program=program) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, err
    return lines[0]


def script(name: str, *words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / name), *map(str, words)],
        capture_output=True, text=True, cwd=cwd,
    )  # fmt: skip


def test_the_papers_scripts_from_video_to_test(demo, tmp_path):
    """process_frames.py -> prepare_dataset.py -> classifier.py train -> classifier.py test."""
    clips = demo[1] / "clips"
    done = script(
        "process_frames.py", "--video_path", clips, "--output_path", "faces",
        "--start_frame", 2, "--end_frame", 8, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "96 frames, 0 without a face, 96 crops" in done.stdout
    assert (tmp_path / "faces" / "original" / "000_0002.png").is_file()

    done = script("prepare_dataset.py", "--raw", "--color", "faces", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"0\s+original\s+24\s+12\s+12", done.stdout)
    assert "faces_color_raw_train_tf" in done.stdout

    done = script(
        "classifier.py", "train", "--epochs", 1, "--image_size", "[64, 64, 3]",
        "--early_stopping", 3, "--classes", 2, "-b", 8, "--l1", 0.01, "--l2", 0.01,
        "cnn", "faces_color_raw_train_tf", "faces_color_raw_val_tf", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    path = done.stdout.splitlines()[-1]
    assert path.endswith("best.safetensors") and (tmp_path / path).is_file()

    done = script(
        "classifier.py", "test", "--image_size", "64,64,3", "--batch_size", 8,
        path, "faces_color_raw_test_tf/data.tfrecords", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "AUC" in done.stdout and "Taken for, videos" in done.stdout
    report = json.loads((tmp_path / done.stdout.splitlines()[-1]).read_text())
    assert report["n_frames"] == 24


@pytest.mark.parametrize("name", ["process_frames.py", "prepare_dataset.py", "classifier.py"])
def test_scripts_know_help(name, tmp_path):
    done = script(name, "-h", cwd=tmp_path)
    assert done.returncode == 0 and f"Usage: {name} [OPTIONS]" in done.stdout


def test_defaults_in_the_help_are_the_real_ones(capsys):
    from mdcsd.config import TrainConfig

    assert call("train", "--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    default = TrainConfig()
    for name, shown in (
        ("epochs", default.epochs), ("image_size", list(default.image_size)),
        ("early_stopping", default.early_stopping), ("classes", default.classes),
        ("batch_size", default.batch_size), ("l1", default.l1), ("l2", default.l2),
    ):  # fmt: skip
        assert re.search(rf"--{name} .*?\[default: \({re.escape(str(shown))}\)\]", text), name


def test_unquoted_brackets_are_joined():
    words = ["train", "--image_size", "[128,", "128,", "3]", "cnn"]
    assert join_brackets(words) == ["train", "--image_size", "[128,128,3]", "cnn"]
    others = ["detect", "[x] a.jpg", "--weights", "w", "--image_size", "[1,2]", "b"]
    assert join_brackets(others) == others


def test_model_and_data_may_come_from_a_recipe(train_set, val_set, tmp_path, capsys):
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        f"[network]\nname = 'cnn'\n[train]\ntrain_dataset = '{train_set}'\n"
        f"val_dataset = '{val_set}'\nepochs = 5\nimage_size = [48, 48, 3]\nseed = 1\n"
    )
    code = call("train", "--recipe", recipe, "--set", "train.epochs=3", "--epochs", 1,
                "--output", tmp_path / "run")  # fmt: skip
    assert code == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "run" / "best.safetensors")
    stored = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert (stored["train"]["epochs"], stored["train"]["seed"]) == (1, 1)
    assert stored["train"]["batch_size"] == 32


def test_detect_writes_json_lines(demo, clip, tmp_path, capsys):
    out = tmp_path / "verdicts.jsonl"
    bad = tmp_path / "notes.mp4"
    bad.write_text("no video")
    code = call("detect", clip, bad, "--weights", demo[0].checkpoint, "--json", out, "--frames", 6)
    assert code == 2
    good, broken = (json.loads(line) for line in out.read_text().splitlines())
    assert good["path"] == str(clip) and 0 <= good["score"] <= 1 and good["verdict"]
    assert broken["path"] == str(bad) and broken["score"] is None
    assert broken["verdict"] == "cannot_judge" and "not a video" in broken["error"]
    printed = capsys.readouterr()
    assert "likely" in printed.out or "uncertain" in printed.out
    assert "notes.mp4" in printed.err and "Traceback" not in printed.err


def test_what_a_folder_holds_beside_pictures_and_videos_is_told(demo, clip, tmp_path, capsys):
    (tmp_path / "deep").mkdir()
    shutil.copy(clip, tmp_path / "a.mp4")
    for name in ("sound.WAV", "deep/other.wav", "deep/clip", ".hidden.txt", "odd.\x1b[2J"):
        (tmp_path / name).write_text("no video")
    assert call("detect", tmp_path, "--weights", demo[0].checkpoint, "--frames", 2) == 0
    said = capsys.readouterr().err
    (told,) = (line for line in said.splitlines() if "passed over" in line)
    assert "2 .wav" in told and "1 without an ending" in told and "hidden" not in told
    assert "\x1b" not in told
    assert call("detect", clip, "--weights", demo[0].checkpoint, "--frames", 2) == 0
    assert "passed over" not in capsys.readouterr().err


def test_detect_takes_folders_and_crops(demo, tmp_path):
    out = tmp_path / "crops.jsonl"
    crops = demo[1] / "crops" / "original"
    assert call("detect", crops, "--cropped", "--weights", demo[0].checkpoint, "--json", out) == 0
    assert len(out.read_text().splitlines()) == len(list(crops.glob("*.png")))


# Bad input: what came, what was expected, what to do next; exit code 2; nothing left behind.


def test_missing_and_empty_inputs(capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    for words, said in (
        (("process-frames", "--video_path", tmp_path / "gone.mp4"), "no such file"),
        (("process-frames", "--video_path", tmp_path / "empty"), "no file to read"),
        (("process-frames",), "--video_path"),
        (("prepare-dataset", tmp_path / "empty"), "no file to read"),
        (("prepare-dataset", tmp_path / "gone"), "no such folder"),
        (("train", "cnn"), "TRAIN_DATASET"),
        (("train", "cnn", tmp_path / "empty", tmp_path / "empty"), "no index.json"),
        (("test", tmp_path / "gone", tmp_path / "empty"), "no such checkpoint"),
        (("demo", "--video", tmp_path / "gone.mp4"), "no such file"),
    ):
        assert said in refused(capsys, *words)
    assert not (tmp_path / "empty_dct_train_tf").exists()


def broken_videos(folder: Path) -> None:
    (folder / "text.mp4").write_text("text" * 100)
    (folder / "empty.mp4").touch()
    save_sound(folder / "sound.mp4")


def test_broken_videos_are_named_and_leave_nothing(clip, tmp_path, capsys):
    videos = tmp_path / "videos"
    videos.mkdir()
    broken_videos(videos)
    whole = clip.read_bytes()
    (videos / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (videos / "good.mp4").write_bytes(whole)
    code = call("process-frames", "--video_path", videos, "--output", tmp_path / "out")
    printed = capsys.readouterr()
    assert code == 2 and "Traceback" not in printed.err
    for name in ("text.mp4", "empty.mp4", "sound.mp4", "cut.mp4"):
        assert len([line for line in printed.err.splitlines() if f"{name}:" in line]) == 1
    crops = {path.name.split("_")[0] for path in (tmp_path / "out").glob("*.png")}
    assert crops == {"good"}


def test_odd_pictures_are_read_or_named(demo, portrait, tmp_path, capsys):
    """CMYK, 16 bit, turned by EXIF and alpha are read as what they show; 0 bytes is refused."""
    folder = tmp_path / "odd"
    folder.mkdir()
    picture = Image.fromarray(portrait)
    picture.save(folder / "plain.png")
    picture.convert("CMYK").save(folder / "cmyk.jpg", quality=95)
    picture.convert("RGBA").save(folder / "alpha.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.rotate(90, expand=True).save(folder / "turned.jpg", exif=exif, quality=95)
    grey = np.asarray(picture.convert("L")).astype(np.uint16) * 257
    Image.fromarray(grey).save(folder / "deep.png")
    (folder / "zero.png").touch()
    out = tmp_path / "odd.jsonl"
    assert call("detect", folder, "--weights", demo[0].checkpoint, "--json", out) == 2
    rows = {Path(row["path"]).name: row for row in map(json.loads, out.read_text().splitlines())}
    assert "0 bytes" in rows.pop("zero.png")["error"]
    assert len(rows) == 5
    boxes = {name: row["frames"][0]["box_xyxy_px"] for name, row in rows.items()}
    for name, box in boxes.items():
        assert np.abs(np.array(box) - boxes["plain.png"]).max() < 12, name
    assert rows["alpha.png"]["score"] == pytest.approx(rows["plain.png"]["score"], abs=1e-6)


def test_flags_that_do_not_fit(capsys, demo, train_set, val_set, test_set, tmp_path):
    weights = demo[0].checkpoint
    for words, said in (
        (("prepare-dataset", "--raw", "--log", tmp_path), "--raw --log"),
        (("train", "vgg", train_set, val_set), "expected one of cnn, xception, mdcsd"),
        (("train", "mdcsd", train_set, val_set, "--set", "train.epoch=1"), "Did you mean 'epochs'"),
        (("train", "mdcsd", train_set, val_set, "-g"), "prepare_dataset.py --raw --color"),
        (("train", "cnn", train_set, val_set, "--image_size", "64,32,3"), "square"),
        (("train", "cnn", train_set, val_set, "--device", "cuda"), "no CUDA device"),
        (("train", "cnn", train_set, val_set, "--classes", "1"), "--classes 1"),
        (("test", weights, test_set, "--image_size", "128"), "trained on 96,96,3"),
        (("test", test_set / "data.tfrecords", test_set), "not a checkpoint"),
        (("detect", tmp_path, "--pool", "most"), "error: --pool = 'most': expected one of track"),
        (("detect", tmp_path, "--set", "detect.pool=most"), "detect.pool = 'most': expected"),
        (("process-frames", "--video_path", tmp_path, "--every", "1", "--frames", "2"), "exclude"),
        (("process-frames", "--video_path", tmp_path, "--start_frame", "5", "--end_frame", "5"),
         "--end_frame 5"),
    ):  # fmt: skip
        assert said in refused(capsys, *words)


def test_an_unknown_flag_leaves_with_two(capsys):
    assert call("train", "--epoch", "2") == 2
    assert "--epoch" in capsys.readouterr().err


def test_a_full_disk_is_one_line(clip, tmp_path):
    program = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))\n"
        "from mdcsd.cli import main\nmain(sys.argv[1:])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "process-frames", "--video_path", str(clip), "--output",
         str(tmp_path / "out"), "--workers", "1"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.count("error: ") == 1 and "cannot be written" in done.stderr
    assert not list((tmp_path / "out").rglob("*.png"))


def test_no_write_permission_is_one_line(clip):
    """Root may write everywhere, so as root the command runs as nobody."""
    program = (
        "import os, sys\n"
        "from mdcsd.cli import main\n"
        "try: main(['process-frames', '--video_path', '/nowhere'])  # loads every module\n"
        "except SystemExit: pass\n"
        "if os.geteuid() == 0: os.seteuid(65534)\n"
        "main(sys.argv[1:])\n"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copy(clip, folder / "clip.mp4")
        (folder / "locked").mkdir(mode=0o555)
        words = ["process-frames", "--video_path", str(folder / "clip.mp4"), "--output",
                 str(folder / "locked" / "out")]  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", program, *words], capture_output=True, text=True
        )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "/locked/out: cannot be written (Permission denied)." in done.stderr.splitlines()[-1]


def test_ctrl_c_keeps_the_last_epoch_and_says_how_to_go_on(train_set, val_set, tmp_path, capsys):
    """The whole process group is interrupted, as a terminal does it."""
    program = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from mdcsd import runs\n"
        "save = runs.RunFolder.save_state\n"
        "def interrupted(self, state):\n"
        "    save(self, state)\n"
        "    if len(state.rows) == 2: os.kill(os.getpid(), signal.SIGINT)\n"
        "runs.RunFolder.save_state = interrupted\n"
        "from mdcsd.cli import main\nmain(sys.argv[1:])\n"
    )
    words = ["train", "cnn", str(train_set), str(val_set), "--epochs", "5", "--image_size", "48"]
    run = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-c", program, *words, "--output", str(run)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 130 and "Traceback" not in done.stderr
    assert f"go on with: mdcsd train --resume {run}" in done.stderr
    assert len((run / "log.csv").read_text().splitlines()) == 3
    capsys.readouterr()
    assert "error: --seed cannot change" in refused(capsys, "train", "--resume", run, "--seed", 3)
    assert call("train", "--resume", run, "--epochs", 3) == 0
    assert len((run / "log.csv").read_text().splitlines()) == 4


def test_a_name_in_an_error_does_not_move_the_cursor(tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        main(["detect", str(tmp_path / "\x1b[2Jgone.mp4")])
    said = capsys.readouterr().err
    assert left.value.code == 2
    assert "\x1b" not in said and "gone.mp4: no such file" in said


def test_a_log_is_told_once_a_minute_how_far_a_command_is(monkeypatch, capsys):
    clock = iter([0, 10, 30, 59, 71, 129, 141, 150, 250, 400])
    monkeypatch.setattr(options, "monotonic", lambda: float(next(clock)))
    with options.progress_bar("images") as progress:
        progress(1, 10)  # after 10 s
        progress(2, 10)
        progress(3, 10)
        progress(4, 10)  # after 71 s: three took 61
        progress(5, 10)  # after 129 s
        progress(6, 10)
        progress(10, 10, "pictures")
        progress(5, 1000, "videos")  # went on where it stopped
        progress(7, 1000, "videos")
    assert capsys.readouterr().err.splitlines() == [
        "images: 4 of 10, 2 min left",
        "images: 6 of 10, 2 min left",
        "videos: 5 of 1000",
        "videos: 7 of 1000, 1241 min left",
    ]


def test_a_quick_command_tells_a_log_nothing(capsys):
    with options.progress_bar("images") as progress:
        progress(1, 1)
    assert capsys.readouterr().err == ""
