"""Interlaced video: frames of one moment, the same however they were reached."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from h264_fields import grey, write_fields
from mdcsd.config import FrameSelection
from mdcsd.deinterlace import DecodedFrame, Deinterlacer
from mdcsd.errors import MediaError
from mdcsd.frame_graph import FrameGraph, told_of
from mdcsd.video import count_frames, iter_frames, read_container_facts

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


def pick(frames: list[av.VideoFrame], wanted: set[int] | None = None) -> list[DecodedFrame]:
    decoded = (
        DecodedFrame(at, at / 25, wanted is None or at in wanted, bool(frame.interlaced_frame),
                     frame)
        for at, frame in enumerate(frames)
    )  # fmt: skip
    return list(Deinterlacer(Path("a.mp4")).pick(decoded))


def pixels(frame: DecodedFrame) -> np.ndarray:
    return frame.decoded.to_ndarray(format="rgb24")


def test_whole_frames_among_interlaced_ones_stay_as_they_are(moments):
    fields = ("prog", "prog", "tff", "tff", "prog", "tff", "prog")
    frames = [marked(*each) for each in zip(woven(moments[:14]), fields, strict=True)]
    for wanted in (None, *({at} for at in range(7))):
        for made in pick(frames, wanted):
            is_same = np.array_equal(pixels(made), frames[made.index].to_ndarray(format="rgb24"))
            assert is_same == (fields[made.index] == "prog")
            assert np.array_equal(pixels(made), pixels(pick(frames)[made.index]))


def test_across_a_change_of_size_frames_are_deinterlaced_beside_their_like(moments):
    small = [np.ascontiguousarray(rgb[: SIDE // 2, : SIDE // 2]) for rgb in moments[:4]]
    stored = [*woven(moments[:6]), *woven(small), *woven(moments[:4])]
    made = pick([marked(rgb, "tff") for rgb in stored])
    assert [each.decoded.width for each in made] == [128, 128, 128, 64, 64, 128, 128]
    for each, rgb, first in zip(made, stored, (0, 2, 4, 0, 2, 0, 2), strict=True):
        moment = (small if each.decoded.width == 64 else moments)[first]
        assert off_by(pixels(each), moment) < 0.6 * off_by(rgb, moment)


@pytest.mark.parametrize("field", ["tff", "bff"])
def test_which_field_is_the_first_is_as_the_frame_says(field, moments):
    stored = woven(moments[:10])
    first = moments[0:10:2] if field == "tff" else moments[1:10:2]
    for made, rgb, moment in zip(
        pick([marked(rgb, field) for rgb in stored]), stored, first, strict=True
    ):
        assert off_by(pixels(made), moment) < 0.5 * off_by(rgb, moment)


def test_a_lone_frame_stays_as_it_is_and_one_too_small_for_it_too(moments, tmp_path):
    (frame,) = woven(moments[:2])
    assert np.array_equal(pixels(*pick([marked(frame, "tff")])), marked(frame, "tff").to_ndarray(
        format="rgb24"))  # fmt: skip
    path = save(tmp_path / "a.mp4", 3 * [np.full((2, 16, 3), 99, np.uint8)])
    assert len(list(iter_frames(path, FrameSelection()))) == 3


def test_only_wanted_frames_cost_anything(moments, monkeypatch):
    sent: list[av.VideoFrame] = []
    send = FrameGraph.send
    frames = [marked(rgb, "tff") for rgb in moments[:20]]
    whole = pick(frames)
    monkeypatch.setattr(
        FrameGraph, "send", lambda self, frame: sent.append(frame) or send(self, frame)
    )
    for wanted, n_sent in (({0, 7, 8, 13, 19}, 3 + 3 + 1 + 3 + 3), ({7}, 3), (set(), 0)):
        sent.clear()
        made = pick(frames, wanted)
        assert [each.index for each in made] == sorted(wanted) and len(sent) == n_sent
        for each in made:
            assert np.array_equal(pixels(each), pixels(whole[each.index]))


def test_a_whole_frame_does_not_wait_for_the_next(moments):
    def frames():
        yield DecodedFrame(0, 0.0, True, False, marked(moments[0], "prog"))
        raise AssertionError("asked for the next")

    assert next(Deinterlacer(Path("a.mp4")).pick(frames())).index == 0


def test_what_ffmpeg_cannot_take_is_an_error_of_the_file(moments, monkeypatch):
    def fail(self, frame):
        raise av.error.FFmpegError(22, "Invalid argument")

    frames = [marked(rgb, "tff") for rgb in moments[:3]]
    monkeypatch.setattr(FrameGraph, "send", fail)
    with pytest.raises(MediaError, match=r"a\.mp4: its interlaced frames cannot be deinterlaced"):
        pick(frames)


def test_where_a_selection_ends_the_frame_behind_it_is_used(interlaced):
    whole = list(iter_frames(interlaced, FrameSelection()))[:15]
    for selection in (FrameSelection(end=15), FrameSelection(n_evenly=15, end=15)):
        for frame, other in zip(iter_frames(interlaced, selection), whole, strict=True):
            assert np.array_equal(frame.rgb, other.rgb)


def test_damage_beside_a_wanted_frame_has_the_whole_file_decoded(moments, tmp_path):
    path = save(tmp_path / "whole.mp4", 10 * woven(moments))
    _, middle, _ = (frame.index for frame in iter_frames(path, FrameSelection(n_evenly=3)))
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        behind = next(each for each in packets if each.pts == each.duration * (middle + 1))
        place = slice(behind.pos + 8, behind.pos + behind.size)
    content = bytearray(path.read_bytes())
    content[place] = bytes(255 - byte for byte in content[place])
    (broken := tmp_path / "broken.mp4").write_bytes(content)
    whole = {frame.index: frame for frame in iter_frames(broken, FrameSelection())}
    few = list(iter_frames(broken, FrameSelection(n_evenly=3)))
    assert len(few) >= 2
    for frame in few:
        assert np.array_equal(frame.rgb, whole[frame.index].rgb)


def test_fields_of_hevc_are_frames_already(moments, tmp_path):
    """FFmpeg gives each by itself, half as high, and marks it as interlaced."""
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        options = {"crf": "1", "x265-params": "interlace=tff:log-level=none"}
        stream = container.add_stream("libx265", rate=50, options=options)
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE // 2, "yuv444p"
        for index, rgb in enumerate(moments[:20]):
            field = np.ascontiguousarray(rgb[index % 2 :: 2])
            frame = av.VideoFrame.from_ndarray(field, format="rgb24").reformat(format="yuv444p")
            frame.pts, frame.time_base = index, Fraction(1, 50)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert not any("interlaced" in hint for hint in read_container_facts(path).hints)
    for n in (FrameSelection(), FrameSelection(n_evenly=5)):
        for frame in iter_frames(path, n):
            assert off_by(frame.rgb, moments[frame.index][frame.index % 2 :: 2]) < 2


@pytest.mark.parametrize("stamps", ["of all", "of frames"])
def test_h264_in_fields_gives_as_many_frames_as_asked_for(stamps, moments, tmp_path):
    """Camcorders and broadcasts code each field by itself: two packets a frame in a stream."""
    path = write_fields(tmp_path / "a.ts", moments, every=1 if stamps == "of all" else 2)
    assert count_frames(path) == 30
    whole = {frame.index: frame for frame in iter_frames(path, FrameSelection())}
    assert sorted(whole) == list(range(30))
    for n_evenly in (1, 2, 8, 30):
        few = list(iter_frames(path, FrameSelection(n_evenly=n_evenly)))
        assert len(few) == n_evenly
        for frame in few:
            assert np.array_equal(frame.rgb, whole[frame.index].rgb)
    for frame in whole.values():
        moment = (grey(moments[2 * frame.index])[..., None] - 16.0) * 255 / 219
        assert off_by(frame.rgb, moment) < 6
