"""Frames as a viewer sees them: in the colours of an ordinary screen."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import av.filter
import numpy as np
import pytest

from mdcsd.config import FrameSelection
from mdcsd.errors import MediaError
from mdcsd.frame_picture import FramePictures
from mdcsd.video import iter_frames, read_container_facts


def save(path: Path, frames: list[av.VideoFrame], **options: str) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "4", **options})
        stream.width, stream.height = frames[0].width, frames[0].height
        stream.pix_fmt = frames[0].format.name
        for index, frame in enumerate(frames):
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def in_hdr(rgb: np.ndarray, transfer: str) -> av.VideoFrame:
    """The same colours as BT.2020 with another transfer function, in ten bits."""
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
    graph = av.filter.Graph()
    chain = [
        graph.add("buffer", f"video_size={frame.width}x{frame.height}:pix_fmt=rgb24:time_base=1/1"
                            ":pixel_aspect=1/1:colorspace=gbr:range=pc"),
        graph.add("scale", "in_primaries=bt709:in_transfer=bt709:out_primaries=bt2020:out_range=tv"
                           f":out_transfer={transfer}:out_color_matrix=bt2020"),
        graph.add("format", "yuv420p10le"),
        graph.add("buffersink"),
    ]  # fmt: skip
    for before, behind in pairwise(chain):
        before.link_to(behind)
    graph.configure()
    chain[0].push(frame)
    return chain[-1].pull()


@pytest.mark.parametrize("transfer", ["arib-std-b67", "smpte2084"])
def test_hdr_has_the_colours_that_it_was_made_of(tmp_path, portrait, transfer):
    side = min(portrait.shape[:2]) // 2 * 2
    rgb = np.ascontiguousarray(portrait[:side, :side])
    path = save(
        tmp_path / "a.mp4", [in_hdr(rgb, transfer)], color_trc=transfer, color_primaries="bt2020",
        colorspace="bt2020nc", color_range="tv",
    )  # fmt: skip
    (frame,) = iter_frames(path, FrameSelection())
    with av.open(str(path)) as container:
        plain = next(container.decode(video=0)).to_ndarray(format="rgb24")
    away, off = (np.abs(each.astype(int) - rgb).mean() for each in (frame.rgb, plain))
    assert away < 6 < 2 * 6 < off
    (hint,) = (each for each in read_container_facts(path).hints if each.startswith("HDR"))
    assert "converted" in hint


def test_one_setup_serves_frames_of_a_kind_and_no_others(portrait):
    pictures, frame = FramePictures(Path("a.mp4"), 1.0), in_hdr(portrait[:64, :64], "arib-std-b67")
    first = pictures.convert(frame)
    graph = pictures._graph
    np.testing.assert_array_equal(pictures.convert(frame), first)
    assert pictures._graph is graph
    larger = in_hdr(portrait[:96, :128], "arib-std-b67")
    assert pictures.convert(larger).shape == (96, 128, 3)
    assert pictures._graph is not graph
    np.testing.assert_array_equal(pictures.convert(frame), first)


def test_oblong_hdr_becomes_square(portrait):
    frame = in_hdr(portrait[:64, :64], "smpte2084")
    assert FramePictures(Path("a.mp4"), 1.5).convert(frame).shape == (64, 96, 3)


@pytest.mark.parametrize("unsaid", [0, 2, 3])
def test_hdr_that_does_not_say_its_primaries_and_matrix_is_bt2020(portrait, unsaid):
    frame = in_hdr(portrait[:64, :64], "arib-std-b67")
    expected = FramePictures(Path("a.mp4"), 1.0).convert(frame)
    frame.color_primaries, frame.colorspace = unsaid, 2
    np.testing.assert_array_equal(FramePictures(Path("a.mp4"), 1.0).convert(frame), expected)


def test_full_range_is_read_as_such(portrait):
    frame = in_hdr(portrait[:64, :64], "arib-std-b67")
    limited = FramePictures(Path("a.mp4"), 1.0).convert(frame)
    frame.color_range = 2
    full = FramePictures(Path("a.mp4"), 1.0).convert(frame)
    assert full.min() > limited.min()  # its black is no longer black


def test_white_of_sdr_and_what_is_brighter_is_white():
    """HLG's reference white is 75 % of its signal (ITU-R BT.2408), mid grey 38 %."""
    codes = np.array([0.0, 0.38, 0.77, 1.0]) * 876 + 64
    frame = av.VideoFrame(64, 16, "yuv420p10le")
    for plane, row in zip(frame.planes, (codes.repeat(16), *[np.full(32, 512)] * 2), strict=True):
        padding = np.zeros(plane.line_size // 2 - len(row))
        plane.update(np.tile([*row, *padding], (plane.height, 1)).astype("<u2").tobytes())
    frame.color_trc, frame.color_primaries, frame.colorspace, frame.color_range = 18, 9, 9, 1
    black, grey, white, brighter = FramePictures(Path("a.mp4"), 1.0).convert(frame)[8, 8::16, 1]
    assert black < 5 and 90 < grey < 135 and white == brighter == 255


def test_colours_that_nothing_can_convert_are_an_error_of_the_file(portrait):
    frame = in_hdr(portrait[:64, :64], "arib-std-b67")
    frame.colorspace = 14  # ICtCp
    with pytest.raises(MediaError, match=r"a\.mp4: its colours cannot be converted"):
        FramePictures(Path("a.mp4"), 1.0).convert(frame)
