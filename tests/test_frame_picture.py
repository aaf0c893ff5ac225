"""Frames as a viewer sees them: of one moment, in the colours of an ordinary screen."""

from __future__ import annotations

from fractions import Fraction
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


def woven(index: int) -> av.VideoFrame:
    """A bar that has moved on by 12 px between the lines of even and of odd number."""
    frame = np.full((64, 96, 3), 60, np.uint8)
    for line in range(64):
        left = 6 + 4 * index + 12 * (line % 2)
        frame[line, left : left + 16] = 200
    return av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="yuv420p")


@pytest.mark.parametrize("selection", [FrameSelection(), FrameSelection(n_evenly=3)])
def test_of_an_interlaced_frame_one_moment_is_shown(tmp_path, selection):
    path = save(
        tmp_path / "a.mp4", [woven(i) for i in range(8)], **{"x264-params": "interlaced=1:log=-1"}
    )
    for frame in iter_frames(path, selection):
        assert frame.rgb.shape == (64, 96, 3)
        bright = frame.rgb[:, :, 1] > 130
        left = 6 + 4 * frame.index
        assert bright[:, left + 3 : left + 13].all()
        assert not bright[:, left + 19 :].any() and not bright[:, : left - 3].any()


def test_without_the_flag_all_lines_are_shown(tmp_path):
    path = save(tmp_path / "a.mp4", [woven(i) for i in range(3)], **{"x264-params": "log=-1"})
    first = next(iter_frames(path, FrameSelection()))
    bright = first.rgb[:, :, 1] > 130
    assert bright[::2, 10].all() and not bright[1::2, 10].any()


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
    for before, behind in zip(chain, chain[1:]):  # noqa: B905, RUF007
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
    assert "mapped" in hint


def test_one_setup_serves_all_frames_of_a_kind(portrait):
    pictures, frame = FramePictures(Path("a.mp4"), 1.0), in_hdr(portrait[:64, :64], "arib-std-b67")
    first = pictures.convert(frame)
    graph = dict(pictures._graphs)
    np.testing.assert_array_equal(pictures.convert(frame), first)
    assert pictures._graphs == graph and len(graph) == 1


def test_colours_that_nothing_can_convert_are_an_error_of_the_file(portrait):
    frame = in_hdr(portrait[:64, :64], "arib-std-b67")
    frame.colorspace = 14  # ICtCp
    with pytest.raises(MediaError, match=r"a\.mp4: its colours cannot be converted"):
        FramePictures(Path("a.mp4"), 1.0).convert(frame)
