"""The job videos -> crops: complete, resumable, and clean after failures."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mdcsd import process_frames as room
from mdcsd.cli import main
from mdcsd.config import ProcessFramesConfig
from mdcsd.cut_journal import read_results
from mdcsd.encoding import write_video
from mdcsd.errors import InputError
from mdcsd.pictures import read_image
from mdcsd.process_frames import FACES_CSV_COLUMNS, process_frames


def run(videos: Path, output: Path, **settings):
    return process_frames(
        ProcessFramesConfig(video_path=str(videos), output_path=str(output), workers=1, **settings)
    )


def rows_of(output: Path) -> list[dict[str, str]]:
    with open(output / "faces.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def videos(clip: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    (folder / "a").mkdir(parents=True)
    shutil.copy(clip, folder / "a" / "one.mp4")
    shutil.copy(clip, folder / "two.mp4")
    return folder


def test_crops_names_and_csv_agree(videos, tmp_path):
    summary = run(videos, tmp_path / "out")
    assert (summary.n_videos, summary.n_frames, summary.n_crops) == (2, 32, 32)
    assert summary.n_frames_without_face == 0 and not summary.failed
    rows = rows_of(tmp_path / "out")
    assert tuple(rows[0]) == FACES_CSV_COLUMNS
    assert rows[0]["path"] == "a/one_0000.png" and rows[0]["video"] == "a/one.mp4"
    on_disk = {
        p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.png")
    }
    assert on_disk == {row["path"] for row in rows}
    for row in rows:
        assert read_image(tmp_path / "out" / row["path"]).shape == (299, 299, 3)
        assert float(row["x1"]) - float(row["x0"]) == float(row["y1"]) - float(row["y0"])
        assert float(row["crop_scale"]) == 1.3


def test_a_single_file_and_a_frame_range(clip, tmp_path):
    summary = run(clip, tmp_path / "out", start_frame=3, end_frame=6, size=64)
    assert summary.n_frames == 3
    assert sorted(p.name for p in (tmp_path / "out").glob("*.png")) == [
        "000_0003.png", "000_0004.png", "000_0005.png",
    ]  # fmt: skip


def test_crops_are_the_same_with_two_processes(videos, tmp_path):
    run(videos, tmp_path / "one")
    config = ProcessFramesConfig(
        video_path=str(videos), output_path=str(tmp_path / "two"), workers=2
    )
    process_frames(config)
    assert (tmp_path / "one" / "faces.csv").read_text() == (
        tmp_path / "two" / "faces.csv"
    ).read_text()
    for path in (tmp_path / "one").rglob("*.png"):
        other = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert path.read_bytes() == other.read_bytes()


def test_a_second_run_does_nothing_anew(videos, tmp_path, monkeypatch):
    run(videos, tmp_path / "out")
    before = (tmp_path / "out" / "faces.csv").read_text()
    monkeypatch.setattr(room, "iter_crops", lambda *_: pytest.fail("decoded again"))
    summary = run(videos, tmp_path / "out")
    assert summary.n_resumed == 2
    assert (tmp_path / "out" / "faces.csv").read_text() == before


def test_an_interrupted_run_goes_on_and_loses_nothing(videos, tmp_path, monkeypatch):
    run(videos, tmp_path / "whole")
    original, calls = room.iter_crops, []

    def interrupted(path, *rest):
        for number, item in enumerate(original(path, *rest)):
            if path.name == "two.mp4" and number == 5 and not calls:
                calls.append(path)
                raise KeyboardInterrupt
            yield item

    monkeypatch.setattr(room, "iter_crops", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(videos, tmp_path / "out")
    assert not list((tmp_path / "out").glob("two_*.png"))  # nothing half-done stays
    summary = run(videos, tmp_path / "out")
    assert summary.n_resumed == 1
    assert (tmp_path / "out" / "faces.csv").read_text() == (
        tmp_path / "whole" / "faces.csv"
    ).read_text()


def test_lost_crops_are_made_again(videos, tmp_path):
    run(videos, tmp_path / "out")
    (tmp_path / "out" / "two_0003.png").unlink()
    summary = run(videos, tmp_path / "out")
    assert summary.n_resumed == 1
    assert (tmp_path / "out" / "two_0003.png").is_file()


def test_other_settings_in_the_same_folder_are_refused(videos, tmp_path):
    run(videos, tmp_path / "out")
    with pytest.raises(InputError, match=r"other settings \(scale 1\.3\)"):
        run(videos, tmp_path / "out", scale=1.5)


def test_a_second_folder_of_videos_joins_the_first(videos, tmp_path):
    run(videos / "two.mp4", tmp_path / "out")
    run(videos / "a", tmp_path / "out")
    assert {row["video"] for row in rows_of(tmp_path / "out")} == {"two.mp4", "one.mp4"}
    assert len(rows_of(tmp_path / "out")) == len(list((tmp_path / "out").glob("*.png"))) == 32
    with pytest.raises(InputError, match="other settings"):
        run(videos / "a", tmp_path / "out", scale=1.5)


def test_another_video_of_the_same_name_is_refused_and_nothing_lost(videos, demo, tmp_path):
    run(videos / "two.mp4", tmp_path / "out")
    before = sorted((tmp_path / "out").glob("*.png"))
    other = tmp_path / "other" / "two.mp4"
    other.parent.mkdir()
    shutil.copy(demo[1] / "clips" / "original" / "001.mp4", other)
    with pytest.raises(InputError, match="another video of this name"):
        run(other, tmp_path / "out")
    assert sorted((tmp_path / "out").glob("*.png")) == before


def test_crops_left_by_a_killed_run_do_not_stay(videos, tmp_path):
    """kill -9 in mid-video leaves crops without a journal."""
    run(videos, tmp_path / "out")
    stale = tmp_path / "out" / "two_0999.png"
    shutil.copy(tmp_path / "out" / "two_0000.png", stale)
    (tmp_path / "out" / ".process_frames" / "videos" / "two.mp4.json").unlink()
    summary = run(videos, tmp_path / "out")
    assert summary.n_resumed == 1 and not stale.exists()


def test_a_broken_link_and_a_range_behind_the_end_are_named(videos, tmp_path):
    (videos / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    summary = run(videos, tmp_path / "out", start_frame=1000)
    assert summary.n_videos == len(summary.failed) == 3
    errors = " ".join(result.error for result in summary.failed)
    assert "gone.mp4: no such file" in errors or "gone.mp4: cannot be read" in errors
    assert errors.count("ends before --start_frame 1000") == 2


def test_a_broken_video_is_named_and_the_rest_is_done(videos, tmp_path):
    (videos / "bad.mp4").write_text("no video")
    summary = run(videos, tmp_path / "out")
    assert [result.video for result in summary.failed] == ["bad.mp4"]
    assert "not a video" in summary.failed[0].error
    assert summary.n_crops == 32
    (noted,) = (each for each in read_results(tmp_path / "out") if each.error)
    assert noted == summary.failed[0]
    shutil.copy(videos / "two.mp4", videos / "bad.mp4")  # copied again: now it is whole
    summary = run(videos, tmp_path / "out")
    assert (summary.n_resumed, summary.failed, summary.n_crops) == (2, (), 48)


def test_frames_without_a_face_are_counted(tmp_path):
    write_video(tmp_path / "grey.mp4", [np.full((120, 160, 3), 90, np.uint8)] * 7, 25)
    summary = run(tmp_path / "grey.mp4", tmp_path / "out")
    assert (summary.n_frames, summary.n_frames_without_face, summary.n_crops) == (7, 7, 0)
    journals = tmp_path / "out" / ".process_frames" / "videos"
    journal = json.loads((journals / "grey.mp4.json").read_text())
    assert journal["n_frames_without_face"] == 7


def test_pictures_beside_videos_are_counted(videos, tmp_path, capsys):
    (videos / "a" / "photo.png").write_bytes(b"a picture")
    with pytest.raises(SystemExit) as left:
        main(["process-frames", "--video_path", str(videos), "--output_path", str(tmp_path / "o"),
              "--frames", "1"])  # fmt: skip
    assert not left.value.code
    assert "1 picture(s) beside videos, not cut" in capsys.readouterr().err


def test_names_that_would_collide_are_refused(videos, tmp_path):
    shutil.copy(videos / "two.mp4", videos / "two.mkv")
    with pytest.raises(InputError, match="differ only in their ending"):
        run(videos, tmp_path / "out")


def test_two_people_get_two_names(media, tmp_path):
    gif = media / "intel" / "head-pose-face-detection-female-and-male.gif"
    summary = run(gif, tmp_path / "out", faces="all", frames=8, size=64)
    assert summary.n_crops == 16
    assert len(list((tmp_path / "out").glob("*_t1.png"))) == 8


def test_grid_speakers_are_found(media, tmp_path):
    summary = run(media / "grid", tmp_path / "out", frames=6, size=64)
    assert summary.n_frames == 66
    assert summary.n_frames_without_face <= 1


def test_backs_of_heads_are_no_faces(media, tmp_path):
    summary = run(media / "intel" / "one-by-one-person-detection.mp4", tmp_path / "out", every=2.0)
    assert summary.n_crops <= 0.02 * summary.n_frames


def test_a_video_that_became_unreadable_leaves_no_row(clip, tmp_path):
    """Trap: rows without pictures stop the next step, or the next but one."""
    (tmp_path / "in").mkdir()
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(clip, tmp_path / "in" / name)
    config = ProcessFramesConfig(str(tmp_path / "in"), str(tmp_path / "out"), frames=2, workers=1)
    process_frames(config)
    (tmp_path / "in" / "a.mp4").write_bytes(b"no video")
    assert len(process_frames(config).failed) == 1
    with open(tmp_path / "out" / "faces.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["video"] for row in rows} == {"b.mp4"}
    assert all((tmp_path / "out" / row["path"]).is_file() for row in rows)
