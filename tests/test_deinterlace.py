"""Interlaced video: frames of one moment, the same however they were reached."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from mdcsd.config import FrameSelection
from mdcsd.deinterlace import Shown, deinterlaced
from mdcsd.errors import MediaError
from mdcsd.frame_graph import FrameGraph, told_of
from mdcsd.video import iter_frames

SIDE = 128


@pytest.fixture(scope="module")
def moments(portrait) -> list[np.ndarray]:
    """A face that moves to the side from field to field, 60 of them."""
    rgb = cv2.resize(portrait[: 2 * SIDE, : 2 * SIDE], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return [np.roll(rgb, 3 * index, axis=1) for index in range(60)]


def woven(moments: list[np.ndarray]) -> list[np.ndarray]:
    """Two moments a frame, the upper lines of the first."""
    frames = [first.copy() for first in moments[::2]]
    for frame, second in zip(frames, moments[1::2], strict=True):
        frame[1::2] = second[1::2]
    return frames


def marked(rgb: np.ndarray, field: str, pixels: str = "yuv444p") -> av.VideoFrame:
    """A frame without time, marked as of fields, the upper first (tff), or as whole (prog)."""
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=pixels)
    (made,) = FrameGraph(told_of(frame), {"setfield": {"mode": field}}).send(frame)
    return made


def save(path: Path, pictures: list[np.ndarray], codec: str = "libx264") -> Path:
    """Encode as interlaced, nearly lossless, a keyframe every ten frames."""
    quality, pixels = ({"crf": "1"}, "yuv444p") if codec == "libx264" else ({}, "yuv420p")
    options = {"flags": "+ildct+ilme", "g": "10", "b": "50M", **quality}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pixels
        for index, rgb in enumerate(pictures):
            frame = marked(rgb, "tff", pixels)
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def interlaced(moments, tmp_path_factory) -> Path:
    return save(tmp_path_factory.mktemp("interlaced") / "a.mp4", woven(moments))


def off_by(frame: np.ndarray, other: np.ndarray) -> float:
    """Mean difference without the edges, over which `np.roll` jumps."""
    inner = np.s_[8:-8, 8:-8]
    return float(np.abs(frame[inner].astype(float) - other[inner]).mean())


def test_a_frame_is_of_its_first_moment(interlaced, moments):
    frames = list(iter_frames(interlaced, FrameSelection()))
    assert [frame.index for frame in frames] == list(range(30))
    assert [frame.time_s for frame in frames] == pytest.approx([at / 25 for at in range(30)])
    for frame, stored, moment in zip(frames, woven(moments), moments[::2], strict=True):
        assert off_by(frame.rgb, moment) < 0.4 * off_by(stored, moment)


@pytest.mark.parametrize("n_evenly", [1, 4, 13, 30])
def test_sampled_frames_are_those_of_the_whole_file(interlaced, n_evenly):
    whole = {frame.index: frame for frame in iter_frames(interlaced, FrameSelection())}
    sampled = list(iter_frames(interlaced, FrameSelection(n_evenly=n_evenly)))
    assert len(sampled) == n_evenly
    for frame in sampled:
        assert frame.time_s == pytest.approx(whole[frame.index].time_s)
        assert np.array_equal(frame.rgb, whole[frame.index].rgb)


def test_what_a_sample_does_not_need_is_not_decoded(moments, tmp_path):
    """Bytes that no chosen frame is decoded from may be noise."""
    path = save(tmp_path / "long.mp4", 10 * woven(moments))
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    whole = list(iter_frames(path, FrameSelection(n_evenly=3)))
    content, n_noise = bytearray(path.read_bytes()), 0
    for place, (position, size) in enumerate(packets):
        if not any(frame.index - 20 < place < frame.index + 20 for frame in whole):
            content[position + 8 : position + size] = bytes(size - 8)
            n_noise += 1
    assert n_noise > 150
    (broken := tmp_path / "broken.mp4").write_bytes(content)
    sampled = iter_frames(broken, FrameSelection(n_evenly=3))
    for frame, other in zip(whole, sampled, strict=True):
        assert frame.index == other.index and np.array_equal(frame.rgb, other.rgb)


def test_files_that_are_decoded_front_to_back_are_deinterlaced_too(moments, tmp_path):
    stored = woven(moments)
    path = save(tmp_path / "a.avi", stored, "mpeg2video")
    frames = list(iter_frames(path, FrameSelection(n_evenly=5)))
    assert len(frames) == 5
    for frame in frames:
        moment = moments[2 * frame.index]
        assert off_by(frame.rgb, moment) < 0.6 * off_by(stored[frame.index], moment)


def test_what_does_not_move_keeps_all_its_lines(moments, tmp_path):
    """But for the first frame, for which FFmpeg has none to compare it with."""
    path = save(tmp_path / "a.mp4", 6 * [moments[0]])
    _, *frames = iter_frames(path, FrameSelection())
    assert len(frames) == 5
    for frame in frames:
        assert off_by(frame.rgb, moments[0]) < 1


def run(frames: list[av.VideoFrame], wanted: set[int] | None = None) -> list[Shown]:
    shown = (
        Shown(at, at / 25, wanted is None or at in wanted, frame) for at, frame in enumerate(frames)
    )
    return list(deinterlaced(shown))


def test_whole_frames_among_interlaced_ones_stay_as_they_are(moments):
    fields = ("prog", "prog", "tff", "tff", "prog", "tff")
    frames = [marked(*each) for each in zip(woven(moments[:12]), fields, strict=True)]
    made = run(frames)
    assert [each.index for each in made] == list(range(6))
    is_same = [
        np.array_equal(each.decoded.to_ndarray(), frame.to_ndarray())
        for each, frame in zip(made, frames, strict=True)
    ]
    assert is_same == [True, True, False, False, True, False]


def test_a_change_of_size_loses_no_frame(moments):
    small = [rgb[: SIDE // 2, : SIDE // 2] for rgb in moments]
    frames = [marked(rgb, "tff") for rgb in (*moments[:3], *small[:2], *moments[:2])]
    made = run(frames)
    assert [each.index for each in made] == list(range(7))
    assert [each.decoded.width for each in made] == [128, 128, 128, 64, 64, 128, 128]


def test_only_wanted_frames_and_those_beside_them_are_looked_at(moments):
    frames = [marked(rgb, "tff") for rgb in moments[:20]]
    all_made = run(frames)
    made = run(frames, wanted={0, 7, 8, 13, 19})
    assert [each.index for each in made] == [0, 7, 8, 13, 19]
    for each in made:
        assert np.array_equal(each.decoded.to_ndarray(), all_made[each.index].decoded.to_ndarray())


def test_frames_too_small_for_it_are_an_error_of_the_file(tmp_path):
    path = save(tmp_path / "a.mp4", 3 * [np.zeros((2, 16, 3), np.uint8)])
    with pytest.raises(MediaError, match="deinterlaced"):
        list(iter_frames(path, FrameSelection()))
