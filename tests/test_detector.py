"""One file, one verdict."""

from __future__ import annotations

import json
from dataclasses import replace

import av
import numpy as np
import pytest
from PIL import Image

from mdcsd import Detector
from mdcsd.checkpoint import load_checkpoint, save_checkpoint
from mdcsd.encoding import write_video
from mdcsd.errors import InputError, InternalError, MediaError
from mdcsd.evaluation import run_test
from mdcsd.judging_nouns import Calibration, Verdict
from mdcsd.nouns import VideoEntry, VideoKey
from mdcsd.storage import sha256_of
from mdcsd.strips import explain_file
from mdcsd.video_scores import score_videos


@pytest.fixture(scope="module")
def detector(demo) -> Detector:
    return Detector(demo[0].checkpoint)


def test_clips_that_training_never_saw_are_told_apart(demo):
    real, fake = demo[0].verdicts
    assert real.score < fake.score
    assert fake.verdict == "likely_manipulated"
    assert real.verdict != "likely_manipulated"


def test_a_verdict_is_complete(detector, clip):
    verdict = detector.judge(clip, n_frames=8)
    assert verdict.path == str(clip) and verdict.sha256 == sha256_of(clip)
    assert 0 <= verdict.score <= 1 and verdict.n_frames_sampled == 8
    assert len(verdict.frames) == 8 and len(verdict.tracks) == 1
    assert verdict.tracks[0].score == pytest.approx(np.mean([f.score for f in verdict.frames]))
    assert verdict.score == pytest.approx(verdict.tracks[0].score)
    assert verdict.checkpoint_id == detector.checkpoint_id
    line = json.loads(verdict.to_json())
    assert {"path", "score", "verdict", "thresholds", "reason", "tracks", "frames"} <= set(line)
    assert set(line["thresholds"]) == {"uncertain_from", "manipulated_from"}


def test_detect_scores_as_test_does(demo, detector, test_set, tmp_path):
    """The same frames through crops, records and loader, or straight from the file."""
    from mdcsd.judging_config import TestConfig

    evaluation = run_test(
        TestConfig(model=str(demo[0].checkpoint), test_dataset=str(test_set), output=str(tmp_path))
    )
    key = evaluation.predictions.keys[0]
    clip = demo[1] / "clips" / key.manipulation / f"{key.video_id}.mp4"
    live = {row.frame_index: row.score for row in detector.judge(clip, n_frames=16).frames}
    stored = {
        k.frame_index: score
        for k, score in zip(evaluation.predictions.keys, evaluation.predictions.score, strict=True)
        if k.video == key.video
    }
    assert live.keys() == stored.keys()
    np.testing.assert_allclose([live[i] for i in stored], list(stored.values()), atol=1e-4)


def test_no_face_is_never_real(detector, tmp_path):
    write_video(tmp_path / "grey.mp4", [np.full((120, 160, 3), 90, np.uint8)] * 40, 25)
    verdict = detector.judge(tmp_path / "grey.mp4")
    assert (verdict.verdict, verdict.score) == ("cannot_judge", None)
    assert verdict.reason.startswith("no face found in 32 sampled frame(s); one narrower than")


def test_a_face_in_too_few_frames_cannot_be_judged(detector, portrait, tmp_path):
    grey = np.full((400, 400, 3), 90, np.uint8)
    write_video(tmp_path / "glimpse.mp4", [portrait] * 3 + [grey] * 61, 25)
    verdict = detector.judge(tmp_path / "glimpse.mp4")
    assert verdict.verdict == "cannot_judge" and len(verdict.frames) in (1, 2)
    assert "5 needed" in verdict.reason


def test_a_picture_is_judged(detector, portrait, tmp_path):
    Image.fromarray(portrait).save(tmp_path / "portrait.png")
    verdict = detector.judge(tmp_path / "portrait.png")
    assert verdict.score is not None and verdict.n_frames_sampled == 1


def test_crops_need_no_search(demo, detector, monkeypatch):
    monkeypatch.setattr("mdcsd.detector.FaceFinder", lambda: pytest.fail("searched for a face"))
    crop = next((demo[1] / "crops" / "Deepfakes").glob("*.png"))
    verdict = Detector(demo[0].checkpoint).judge(crop, cropped=True)
    assert verdict.score is not None
    assert verdict.frames[0].box_xyxy_px == (0.0, 0.0, 299.0, 299.0)


def test_thresholds_decide_the_word(demo, clip, tmp_path):
    checkpoint = load_checkpoint(demo[0].checkpoint)
    for low, high, word in ((0.0, 0.0, "likely_manipulated"), (0.0, 1.0, "uncertain"),
                            (1.0, 1.0, "likely_real")):  # fmt: skip
        path = tmp_path / f"{word}.safetensors"
        by_hand = Calibration(low, high, 1.0, 1.0, "by hand")
        save_checkpoint(replace(checkpoint, calibration=by_hand), path)
        assert Detector(path).judge(clip, n_frames=5).verdict == word


def test_damage_that_is_no_error_is_a_warning(detector, portrait, tmp_path):
    path = tmp_path / "scratched.mp4"
    write_video(path, [np.roll(portrait, i, axis=1) for i in range(40)], 25)
    assert not any("damaged frames" in warning for warning in detector.judge(path).warnings)
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        for packet in packets[20:22]:
            content[packet.pos : packet.pos + packet.size] = bytes(packet.size)
    path.write_bytes(content)
    verdict = detector.judge(path)
    assert verdict.score is not None
    assert verdict.warnings[0].startswith("damaged frames: 2 of 40")


def test_broken_files_are_named(detector, tmp_path):
    (tmp_path / "notes.mp4").write_text("text")
    with pytest.raises(MediaError, match=r"notes\.mp4"):
        detector.judge(tmp_path / "notes.mp4")
    with pytest.raises(InputError, match="no such file"):
        detector.judge(tmp_path / "gone.png")


def test_a_verdict_without_score_must_be_cannot_judge():
    with pytest.raises(InternalError):
        Verdict("a", "0", None, "likely_real", {}, "", "", "", "", 0)


def test_people_from_behind_cannot_be_judged(detector, media):
    verdict = detector.judge(media / "intel" / "one-by-one-person-detection.mp4")
    assert verdict.verdict == "cannot_judge"


def test_two_people_are_two_tracks(detector, media):
    verdict = detector.judge(media / "intel" / "head-pose-face-detection-female-and-male.gif")
    assert len(verdict.tracks) == 2
    assert verdict.score == pytest.approx(max(track.score for track in verdict.tracks))
    assert any("several people" in warning for warning in verdict.warnings)


def test_each_side_of_a_cut_has_its_score_in_every_command(detector, portrait, tmp_path):
    """Shot and reverse shot: two people in one place, who look to other sides in other light."""
    other = np.ascontiguousarray(portrait[:, ::-1, ::-1])
    path = tmp_path / "item.mp4"
    write_video(path, [other if index // 8 % 2 else portrait for index in range(64)], 8)
    verdict = detector.judge(path)
    assert [track.n_frames for track in verdict.tracks] == [16, 16]
    assert verdict.score == pytest.approx(max(track.score for track in verdict.tracks))
    assert any(
        "across cuts the colours of the picture tell" in warning for warning in verdict.warnings
    )
    explained = explain_file(detector, path, tmp_path / "strips", 32, cropped=False)
    assert explained.score == pytest.approx(verdict.score, abs=1e-6)
    assert sum("person_1" in strip.name for strip in explained.strips) == 16
    entry = VideoEntry(path, VideoKey("d", "original", "item"), 0)
    evaluated = score_videos(detector, [entry], 32).predictions
    assert [origin.key.track_id for origin in evaluated.origins] == [
        frame.track_id for frame in verdict.frames
    ]
