"""predictions.csv: what goes out comes in again; what cannot be is refused by line."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdcsd.errors import DataError, InputError
from mdcsd.evaluation_report import Rules, build_report
from mdcsd.judging_nouns import Predictions, UnjudgedVideo
from mdcsd.metrics import pool_predictions
from mdcsd.nouns import FrameKey, Origin, VideoKey
from mdcsd.predictions import choose_manipulations, join_predictions, read_csv, to_csv

HEADER = "dataset,manipulation,video_id,frame_index,track_id,label,score\n"


def write(tmp_path, *rows):
    path = tmp_path / "predictions.csv"
    path.write_text(HEADER + "".join(row + "\n" for row in rows))
    return path


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_out_and_in_again(scores):
    import tempfile
    from pathlib import Path

    origins = tuple(
        Origin(FrameKey("d", "m", 'a,"b"', 0, i), "class", "c23", "000") for i in range(len(scores))
    )
    label = np.array([-1, 0, 1] * len(scores))[: len(scores)]
    missed = UnjudgedVideo(VideoKey("d", "m", "gone"), 1, "m", "c23", "001")
    before = Predictions(origins, label, np.array(scores), (missed,))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.csv"
        path.write_text(to_csv(before))
        after = read_csv(path)
    assert after.origins == before.origins and after.unjudged == before.unjudged
    assert after.label.tolist() == label.tolist() and after.score.tolist() == scores


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("d,m,v,0,0,1,nan", "line 2: score 'nan': expected a number from 0 to 1"),
        ("d,m,v,0,0,1,inf", "line 2: score 'inf'"),
        ("d,m,v,0,0,1,3.2", "put logits through a sigmoid"),
        ("d,m,v,0,0,2,.5", "label '2': expected 0"),
        ("d,m,v,zero,0,1,.5", "frame_index 'zero'"),
        ("d,m,v,0,0,1", "not as many fields"),
        ("d,m,v,0,0,1,.5\nd,m,v,0,0,1,.6", "line 3: the same face as line 2"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(tmp_path, row, words):
    with pytest.raises(DataError, match=words):
        read_csv(write(tmp_path, row))


def test_columns_and_files_that_are_missing(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_csv(tmp_path / "none.csv")
    (tmp_path / "p.csv").write_text("video,score\na,.5\n")
    with pytest.raises(DataError, match=r"column.* dataset, manipulation"):
        read_csv(tmp_path / "p.csv")
    with pytest.raises(DataError, match="no row"):
        read_csv(write(tmp_path))


def test_the_name_collision_of_faceforensics(tmp_path):
    """Trap: four fakes called 000_003, scores .9 .9 .1 .1, a real one at .3: video AUC is .5."""
    fakes = zip(("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures"), (0.9, 0.9, 0.1, 0.1),
                strict=True)  # fmt: skip
    rows = [f"ffpp,{name},000_003,0,0,1,{score}" for name, score in fakes]
    path = write(tmp_path, *rows, "ffpp,original,000,0,0,0,.3")
    report = build_report(read_csv(path), Rules(draws=0))
    assert report["n_videos"] == 5
    assert report["overall"]["video_auc"]["value"] == 0.5


def test_a_video_without_a_face_counts(tmp_path):
    """Trap: dropped, the missed fake would leave an AUC of 1."""
    path = write(tmp_path, "d,fake,a,0,0,1,.9", "d,fake,b,,,1,", "d,original,c,0,0,0,.6")
    report = build_report(read_csv(path), Rules(draws=0))
    assert report["n_videos"] == 3 and report["n_videos_cannot_judge"] == 1
    assert report["overall"]["video_auc"]["value"] == 0.5  # .9 above .6, .5 below it
    assert report["overall"]["frame_auc"]["value"] == 1.0


def test_two_data_sets_under_one_name_are_refused(tmp_path):
    one = read_csv(write(tmp_path, "d,fake,a,0,0,1,.9"))
    with pytest.raises(DataError, match="under one name"):
        join_predictions([one, one])


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"\x00\x00\x00\x1cftypisom\xff\xfe\x80")
    with pytest.raises(DataError, match="not text in UTF-8"):
        read_csv(path)


def read(tmp_path, rows, header=HEADER):
    (tmp_path / "table.csv").write_text(header + rows)
    return read_csv(tmp_path / "table.csv")


def test_a_bystander_of_an_unwanted_fake_is_no_real_video_in_tables_either(tmp_path):
    """Trap: without class names its untouched face looks like a real video's."""
    table = read(tmp_path, "a,FaceSwap,g,0,0,1,.9\na,FaceSwap,g,0,1,0,.95\na,original,r,0,0,0,.1\n"
                 "a,Deepfakes,d,0,0,1,.8\n")  # fmt: skip
    chosen = choose_manipulations(table, ("Deepfakes",))
    assert [key.video_id for key in chosen.keys] == ["r", "d"]
    named = read(tmp_path, "a,original,r,0,0,0,real,.1\na,Deepfakes,d,0,0,1,fake,.8\n",
                 HEADER.replace("label,", "label,class_name,"))  # fmt: skip
    assert len(choose_manipulations(named, ("Deepfakes",)).keys) == 2


def test_frames_without_a_face_may_be_rows(tmp_path):
    """Trap: dropped, they make a glimpse of three frames a judged video."""
    seen = "".join(f"a,original,v,{i},0,0,.9\n" for i in range(3))
    empty = "".join(f"a,original,v,{i},,0,\n" for i in range(3, 32))
    (pooled,) = pool_predictions(read(tmp_path, seen + empty), "track").values()
    assert pooled == (0, None)
    assert pool_predictions(read(tmp_path, seen), "track").popitem()[1] == (0, pytest.approx(0.9))


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ("a,swap,v,,,0,\na,swap,v,,,1,\n", HEADER, "line 3: another label than before"),
        ("a,swap,v,0,0,0,.5\na,swap,v,,,1,\n", HEADER, "rows with and without a score differ"),
        ("a,swap,v,0,0,1,.5,.6\n", HEADER.replace("score", "score,score"), "score twice"),
    ],
)
def test_rows_that_contradict_each_other_are_refused(tmp_path, rows, header, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, rows, header)
