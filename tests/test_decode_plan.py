"""Decoding a few frames of a video: the same as out of all of them, and no more than they need."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mdcsd.config import FrameSelection
from mdcsd.decode_plan import DecodePlan, PacketFacts, plan_decoding
from mdcsd.errors import MediaError
from mdcsd.video import count_frames, iter_frames

KEY, OTHER = True, False


def packets(*facts: tuple[int | None, bool]) -> list[PacketFacts]:
    return [PacketFacts(stamp, is_key, is_shown=True) for stamp, is_key in facts]


def in_groups(n_groups: int, n_each: int) -> list[PacketFacts]:
    return packets(*((i, i % n_each == 0) for i in range(n_groups * n_each)))


def plan(stored: list[PacketFacts], chosen: set[int], reorders: bool = False) -> DecodePlan:
    found = plan_decoding(stored, chosen, reorders)
    assert found is not None
    return found


def test_a_frame_is_decoded_from_the_key_picture_before_it_and_no_further():
    found = plan(in_groups(5, 10), {13, 17, 45})
    assert found.runs == ((10, 17), (40, 45))
    assert found.starts == {10, 40}
    assert found.index_of == {13: 13, 17: 17, 45: 45}


def test_runs_that_touch_are_one():
    found = plan(in_groups(3, 4), {3, 4, 9})
    assert found.runs == ((0, 4), (8, 9)) and found.starts == {8}


def test_a_picture_shown_before_its_key_picture_needs_the_group_before():
    """Shown 0 1 2 | 3 4 5, where 3 is stored behind the key picture 4 and may need 2."""
    stored = packets((0, KEY), (2, OTHER), (1, OTHER), (4, KEY), (3, OTHER), (5, OTHER))
    assert plan(stored, {3}, reorders=True).runs == ((0, 4),)
    assert plan(stored, {5}, reorders=True).runs == ((3, 5),)


def test_a_hidden_picture_is_decoded_and_not_counted():
    stored = [PacketFacts(0, KEY, False), PacketFacts(1, OTHER, False), *packets((2, OTHER))]
    found = plan(stored, {0})
    assert found.runs == ((0, 2),) and found.index_of == {2: 0}


@pytest.mark.parametrize("stamps", [(0, None, 2), (0, 1, 1)])
def test_frames_that_no_stamp_tells_apart_are_not_planned(stamps):
    assert plan_decoding(packets(*((stamp, KEY) for stamp in stamps)), {0}, False) is None


def test_stamps_that_count_packets_say_nothing_where_pictures_are_reordered():
    assert plan_decoding(in_groups(2, 3), {1}, reorders=True) is None
    assert plan_decoding(in_groups(2, 3), {1}, reorders=False) is not None


def test_nothing_is_planned_where_nothing_is_there():
    assert plan_decoding([], {0}, False) is None
    assert plan_decoding(in_groups(1, 3), {3}, False) is None


@given(
    st.integers(1, 40).flatmap(
        lambda n: st.tuples(st.permutations(range(n)), st.sets(st.integers(1, n)))
    ),
    st.sets(st.integers(0, 39), min_size=1, max_size=12),
)
def test_all_that_a_chosen_frame_may_need_is_decoded(stored_as, chosen):
    stamps, keys = stored_as
    stored = packets(*((stamp, place in keys or place == 0) for place, stamp in enumerate(stamps)))
    there = {index for index in chosen if index < len(stored)}
    assume(there)
    found = plan(stored, chosen)
    assert set(found.index_of.values()) == there
    assert all(stored[first].is_key and stamps[last] in there for first, last in found.runs)
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(found.runs))
    decoded = {place for first, last in found.runs for place in range(first, last + 1)}
    for place in (stamps.index(stamp) for stamp in there):
        before = [key for key in range(place + 1) if stored[key].is_key]
        leads = stamps[place] < stamps[before[-1]]
        needed = before[-2] if leads and len(before) > 1 else before[-1]
        assert decoded.issuperset(range(needed, place + 1))


def moving_frames(n: int) -> list[np.ndarray]:
    """A patterned square that wanders over noise, so that each frame is its own."""
    rng = np.random.default_rng(3)
    ground = rng.integers(60, 190, (96, 128, 3), dtype=np.uint8)
    frames = []
    for index in range(n):
        frame = np.roll(ground, index, axis=1)
        left, top = (3 * index) % 96, (5 * index) % 64
        frame[top : top + 32, left : left + 32] = (index * 7) % 256, 255 - index % 256, 30
        frames.append(frame)
    return frames


def save(path: Path, codec: str, options: dict[str, str], n: int = 120) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height = 128, 96
        stream.pix_fmt = {"prores_ks": "yuv422p10le", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
        for index, rgb in enumerate(moving_frames(n)):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


X264 = "keyint=24:min-keyint=24:scenecut=0:bframes=3:log=-1"
FILES = {
    "groups.mp4": ("libx264", {"x264-params": X264}),
    "groups.mkv": ("libx264", {"x264-params": X264}),
    "groups.ts": ("libx264", {"x264-params": X264}),
    "groups.flv": ("libx264", {"x264-params": X264}),
    "groups.avi": ("libx264", {"x264-params": X264}),
    "open.mp4": ("libx264", {"x264-params": X264 + ":open-gop=1"}),
    "refresh.mp4": ("libx264", {"x264-params": X264 + ":intra-refresh=1"}),
    "hevc.mp4": ("libx265", {"x265-params": "keyint=24:open-gop=1:log-level=none"}),
    "mpeg2.ts": ("mpeg2video", {"g": "12", "bf": "2"}),
    "mpeg4.mp4": ("mpeg4", {"g": "12", "bf": "2"}),
    "vp9.webm": ("libvpx-vp9", {"g": "24", "deadline": "realtime", "cpu-used": "8"}),
    "vp8.webm": ("libvpx", {"g": "24", "deadline": "realtime", "cpu-used": "8"}),
    "av1.mkv": ("libsvtav1", {"g": "24", "preset": "12"}),
    "prores.mov": ("prores_ks", {}),
    "jpegs.avi": ("mjpeg", {}),
}
NOT_PLANNED = {
    "groups.avi",  # its stamps count the packets
    "refresh.mp4",  # no picture stands by itself, some are called so
}


@pytest.mark.parametrize("name", FILES)
def test_frames_of_a_few_are_those_of_all(tmp_path, name, monkeypatch):
    codec, options = FILES[name]
    path = save(tmp_path / name, codec, options)
    everything = {frame.index: frame for frame in iter_frames(path, FrameSelection())}
    if name not in NOT_PLANNED:
        monkeypatch.setattr("mdcsd.video._iter_all", pytest.fail)
    for n_wanted in (2, 7, 32):
        few = list(iter_frames(path, FrameSelection(n_evenly=n_wanted)))
        assert len(few) == n_wanted
        for frame in few:
            same = everything[frame.index]
            assert frame.time_s == same.time_s
            np.testing.assert_array_equal(frame.rgb, same.rgb)


def test_what_no_wanted_frame_needs_is_not_decoded(tmp_path):
    path = save(tmp_path / "groups.mp4", *FILES["groups.mp4"])
    spoiled = tmp_path / "spoiled.mp4"
    spoiled.write_bytes(_with_packets_spoiled(path, range(30, 90)))
    selection = FrameSelection(n_evenly=2)
    for same, frame in zip(
        iter_frames(path, selection), iter_frames(spoiled, selection), strict=True
    ):
        assert frame.index == same.index
        np.testing.assert_array_equal(frame.rgb, same.rgb)


def test_damage_where_frames_are_wanted_is_judged_by_the_whole_file(tmp_path):
    path = save(tmp_path / "groups.mp4", *FILES["groups.mp4"])
    spoiled = tmp_path / "spoiled.mp4"
    spoiled.write_bytes(_with_packets_spoiled(path, range(30, 90)))
    with pytest.raises(MediaError, match=r"only \d+ of \d+ frames can be decoded"):
        list(iter_frames(spoiled, FrameSelection(n_evenly=8)))
    scratched = tmp_path / "scratched.mp4"
    scratched.write_bytes(_with_packets_spoiled(path, range(60, 63)))
    frames = list(iter_frames(scratched, FrameSelection(n_evenly=8)))
    assert [frame.index for frame in frames] == sorted({frame.index for frame in frames})
    assert 6 <= len(frames) <= 8 and frames[-1].index > 110


def _with_packets_spoiled(path: Path, places: range) -> bytes:
    """The same file with every byte of some packets inverted."""
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        for place, packet in enumerate(container.demux(video=0)):
            if place in places and packet.size:
                stretch = slice(packet.pos, packet.pos + packet.size)
                content[stretch] = bytes(255 - byte for byte in content[stretch])
    return bytes(content)


def test_counting_still_counts_what_is_shown(tmp_path):
    path = save(tmp_path / "groups.mp4", *FILES["groups.mp4"], n=30)
    assert count_frames(path) == 30
