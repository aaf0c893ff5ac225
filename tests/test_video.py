"""Decoding: which frames come, upright and in order, and what is said of broken files."""

from __future__ import annotations

import errno
import os
import threading
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from conftest import save_sound
from mdcsd.config import FrameSelection
from mdcsd.damage import Damage
from mdcsd.encoding import loop_video, write_video
from mdcsd.errors import InputError, MediaError, SettingError
from mdcsd.frame_choice import spread_indices
from mdcsd.inputs import check_file, find_inputs, find_media
from mdcsd.nouns import Frame
from mdcsd.pictures import decode_png, encode_png, read_image
from mdcsd.video import (
    count_frames,
    decoded_ahead,
    iter_frames,
    probe,
    read_container_facts,
)


def numbered_frames(n: int):
    """Frames that say which they are: tens by the left half's brightness, ones by the right's."""
    for index in range(n):
        frame = np.full((64, 96, 3), 20 + 20 * (index // 10), np.uint8)
        frame[:, 48:] = 20 + 20 * (index % 10)
        yield frame


@pytest.fixture(scope="module")
def numbered(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("video") / "numbered.mp4"
    write_video(path, numbered_frames(100), fps=25, crf=0)
    return path


def which(frame) -> int:
    tens, ones = (round((float(half.mean()) - 20) / 20) for half in np.split(frame.rgb, 2, axis=1))
    return 10 * tens + ones


def test_every_frame_comes_once_in_order(numbered):
    frames = list(iter_frames(numbered, FrameSelection()))
    assert [frame.index for frame in frames] == list(range(100))
    assert [which(frame) for frame in frames] == list(range(100))
    assert all(b.time_s > a.time_s for a, b in pairwise(frames))
    assert frames[-1].time_s == pytest.approx(99 / 25)


def test_start_is_inclusive_and_end_exclusive(numbered):
    frames = list(iter_frames(numbered, FrameSelection(start=10, end=15)))
    assert [which(frame) for frame in frames] == [10, 11, 12, 13, 14]


def test_evenly_spaced_frames_cover_the_whole_video_not_its_start(numbered):
    frames = list(iter_frames(numbered, FrameSelection(n_evenly=32)))
    seen = [which(frame) for frame in frames]
    assert len(seen) == 32
    assert seen[0] < 10 and seen[-1] >= 90
    assert max(np.diff(seen)) <= 4


def test_one_frame_each_second(numbered):
    frames = list(iter_frames(numbered, FrameSelection(every_s=1.0)))
    assert [frame.index for frame in frames] == [0, 25, 50, 75]


@given(st.integers(1, 5000), st.integers(1, 200))
def test_spread_is_rising_in_range_and_reaches_both_ends(n_frames, n_wanted):
    chosen = spread_indices(n_frames, n_wanted)
    assert chosen == sorted(set(chosen))
    assert 0 <= chosen[0] and chosen[-1] < n_frames
    assert len(chosen) <= n_wanted
    if n_wanted >= n_frames:
        assert chosen == list(range(n_frames))
    if n_wanted > 1:
        assert chosen[0] <= 0.1 * n_frames
        assert chosen[-1] >= 0.9 * n_frames - 1


def test_count_and_probe_agree_with_decoding(numbered):
    assert count_frames(numbered) == 100
    info = probe(numbered)
    assert (info.width_px, info.height_px, info.fps) == (96, 64, 25)
    assert info.duration_claimed_s == pytest.approx(4.0)


def test_rotated_video_comes_upright(tmp_path):
    """A phone stores the sensor's picture and the turn that a player must make."""
    frame = np.zeros((64, 96, 3), np.uint8)
    frame[:, :48, 0] = 255  # red on the left
    write_video(tmp_path / "plain.mp4", [frame] * 5, 25)
    _set_rotation(tmp_path / "plain.mp4", tmp_path / "turned.mp4")
    turned = next(iter_frames(tmp_path / "turned.mp4", FrameSelection()))
    assert turned.rgb.shape == (96, 64, 3)
    red = turned.rgb[..., 0].astype(int)
    assert abs(int(red[:40].mean()) - int(red[-40:].mean())) > 200  # left became top or bottom


def _set_rotation(source: Path, target: Path) -> None:
    """Write a 90-degree display matrix into the track header of an mp4."""
    content = bytearray(source.read_bytes())
    at = content.index(b"tkhd") + 4 + 40
    one, zero = (0x10000).to_bytes(4, "big"), bytes(4)
    minus_one, w = (0xFFFF0000).to_bytes(4, "big"), (0x40000000).to_bytes(4, "big")
    content[at : at + 36] = zero + one + zero + minus_one + zero + zero + zero + zero + w
    target.write_bytes(content)


def test_text_named_mp4_is_refused_with_its_name(tmp_path):
    path = tmp_path / "notes.mp4"
    path.write_text("this is not a video\n" * 50)
    with pytest.raises(MediaError, match=r"notes\.mp4: not a video"):
        list(iter_frames(path, FrameSelection()))


def test_empty_and_missing_files_are_refused(tmp_path):
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(MediaError, match="empty"):
        list(iter_frames(tmp_path / "empty.mp4", FrameSelection()))
    with pytest.raises(InputError, match="no such file"):
        list(iter_frames(tmp_path / "gone.mp4", FrameSelection()))


def test_sound_without_picture_is_refused(tmp_path):
    path = tmp_path / "sound.mp4"
    save_sound(path)
    with pytest.raises(MediaError, match="only sound"):
        list(iter_frames(path, FrameSelection()))


def test_the_cover_of_a_sound_file_is_no_video(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=44100, layout="mono")
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        silence.sample_rate = 44100
        picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        container.mux([*sound.encode(silence), *sound.encode()])
        container.mux([*cover.encode(picture), *cover.encode()])
    with pytest.raises(MediaError, match="only sound"):
        list(iter_frames(path, FrameSelection()))


@pytest.mark.parametrize("suffix", [".ts", ".mkv", ".mp4", ".mpg"])
def test_time_counts_from_the_start_of_the_file(tmp_path, suffix):
    """A broadcast's stamps begin hours in: times, length and the check for damage do not."""
    path = tmp_path / f"late{suffix}"
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as container:
        stream = container.add_stream("mpeg1video" if suffix == ".mpg" else "libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for index in range(50):
            noise = rng.integers(0, 255, (64, 96, 3), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(noise, format="rgb24")
            frame.pts, frame.time_base = 36000 * 25 + index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    times = [frame.time_s for frame in iter_frames(path, FrameSelection())]
    assert times == pytest.approx(np.arange(50) / 25, abs=1e-3)
    assert read_container_facts(path).duration_s == pytest.approx(2.0, abs=0.2)
    if suffix == ".mkv":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(MediaError, match=r"ends at [01]\.\d of 2\.0 s"):
            list(iter_frames(path, FrameSelection()))


def faststart_video(path: Path, n: int) -> bytes:
    """An mp4 whose index comes first, as web videos have it: cut off, it still opens."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for _ in range(n):
            noise = rng.integers(0, 255, (64, 96, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
        container.mux(stream.encode())
    return path.read_bytes()


@pytest.fixture(scope="module")
def faststart(tmp_path_factory) -> bytes:
    return faststart_video(tmp_path_factory.mktemp("video") / "fast.mp4", 100)


@pytest.mark.parametrize("selection", [FrameSelection(), FrameSelection(n_evenly=8)])
def test_a_missing_end_is_told(tmp_path, selection):
    path = tmp_path / "cut.mp4"
    content = faststart_video(path, 300)
    for share, is_told in ((1.0, False), (0.999, False), (0.95, True)):
        path.write_bytes(content[: int(share * len(content))])
        told: list[Damage] = []
        list(iter_frames(path, selection, told.append))
        assert any(each.lacks_its_end for each in told) == is_told
    (cut,) = told
    assert 11.2 < cut.end_s < 11.6 and cut.missing_s == pytest.approx(12 - cut.end_s)


@pytest.mark.parametrize("selection", [FrameSelection(), FrameSelection(n_evenly=8)])
def test_cut_off_video_is_refused_with_counts(tmp_path, faststart, selection):
    path = tmp_path / "cut.mp4"
    path.write_bytes(faststart[: len(faststart) // 2])
    with pytest.raises(MediaError, match=r"ends at \d\.\d of 4\.0 s"):
        list(iter_frames(path, selection))


def test_readable_start_of_a_cut_off_video_can_be_had(tmp_path, faststart):
    path = tmp_path / "cut.mp4"
    path.write_bytes(faststart[: len(faststart) // 2])
    assert len(list(iter_frames(path, FrameSelection(end=20)))) == 20


def test_a_trimmed_video_is_whole(numbered, tmp_path):
    """A phone's trim keeps the packets and hides them by an edit list: 100 stored, 60 shown."""
    source = numbered.read_bytes()
    at = source.index(b"elst") + 8
    trimmed = bytearray(source)
    n_entries = int.from_bytes(source[at : at + 4], "big")
    assert n_entries == 1
    duration = int.from_bytes(source[at + 4 : at + 8], "big")
    trimmed[at + 4 : at + 8] = (duration * 6 // 10).to_bytes(4, "big")
    (tmp_path / "trimmed.mp4").write_bytes(trimmed)
    assert 55 <= len(list(iter_frames(tmp_path / "trimmed.mp4", FrameSelection()))) <= 65
    assert len(list(iter_frames(tmp_path / "trimmed.mp4", FrameSelection(n_evenly=8)))) == 8


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_video_of_variable_rate_is_whole(tmp_path, suffix):
    """30 frames a second declared, 15 there: fewer frames than the rate says, none missing."""
    path = tmp_path / f"vfr{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for index, rgb in enumerate(numbered_frames(60)):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = 2 * index, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert len(list(iter_frames(path, FrameSelection()))) == 60
    assert len(list(iter_frames(path, FrameSelection(every_s=1.0)))) == 4


def test_a_gap_in_time_takes_one_frame_not_all_after_it():
    from mdcsd.frame_choice import _Ticks

    ticks = _Ticks(0, 1.0)
    times = [0.0, 0.5, 1.0, 10.0, 10.04, 10.5, 11.0]
    assert [t for i, t in enumerate(times) if ticks(i, t)] == [0.0, 1.0, 10.0, 11.0]


def test_a_few_flipped_bytes_do_not_stop_decoding(tmp_path, faststart):
    damaged = bytearray(faststart)
    for place in range(len(damaged) // 2, len(damaged) // 2 + 40):
        damaged[place] ^= 0xFF
    path = tmp_path / "scratched.mp4"
    path.write_bytes(damaged)
    frames = list(iter_frames(path, FrameSelection()))
    assert 60 <= len(frames) <= 100


def test_mostly_damaged_video_is_refused(tmp_path, faststart):
    damaged = bytearray(faststart)
    rng = np.random.default_rng(1)
    start = damaged.index(b"mdat") + 400
    damaged[start:] = rng.integers(0, 255, len(damaged) - start, dtype=np.uint8).tobytes()
    path = tmp_path / "ruined.mp4"
    path.write_bytes(damaged)
    with pytest.raises(MediaError, match=r"frames can be decoded|no frame"):
        list(iter_frames(path, FrameSelection()))


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.flv", "libx264"), ("a.wmv", "wmv2"), ("a.asf", "msmpeg4"), ("a.vob", "mpeg2video")],
)
def test_older_containers_are_read(tmp_path, name, codec):
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for each in numbered_frames(12):
            small = np.ascontiguousarray(each[:64, :64])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(small, format="rgb24")))
        container.mux(stream.encode())
    assert find_inputs([str(tmp_path)], ()) == [path]
    assert len(list(iter_frames(path, FrameSelection()))) == count_frames(path) == 12


def test_a_last_frame_may_be_shown_for_long(tmp_path, numbered):
    pictures = [Image.fromarray(frame) for frame in numbered_frames(8)]
    gif = tmp_path / "pause.gif"
    held = [100] * 7 + [2500]
    pictures[0].save(gif, save_all=True, append_images=pictures[1:], duration=held)
    film = tmp_path / "pause.mp4"
    with av.open(str(numbered)) as source, av.open(str(film), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        last = max(packets, key=lambda packet: packet.pts)
        last.duration = int(5 / last.time_base)
        for packet in packets:
            packet.stream = stream
            target.mux(packet)
    for path, seconds in ((gif, 3.2), (film, probe(numbered).duration_claimed_s + 4)):
        assert probe(path).duration_claimed_s >= seconds - 0.1
        assert len(list(iter_frames(path, FrameSelection()))) == count_frames(path) > 7


def test_gif_is_a_video(tmp_path):
    pictures = [Image.fromarray(frame) for frame in numbered_frames(8)]
    path = tmp_path / "short.gif"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100)
    assert len(list(iter_frames(path, FrameSelection()))) == 8


def test_the_same_frames_give_the_same_bytes(portrait, tmp_path):
    for name in ("one.mp4", "two.mp4"):
        shifted = (np.roll(portrait, 3 * index, axis=1) for index in range(12))
        write_video(tmp_path / name, shifted, 25)
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()


def test_looped_video_is_as_long_as_asked(numbered, tmp_path):
    loop_video(numbered, tmp_path / "long.mp4", min_duration_s=9.0)
    frames = list(iter_frames(tmp_path / "long.mp4", FrameSelection()))
    assert len(frames) == 300
    assert which(frames[150]) == 50


@pytest.mark.parametrize(
    ("start", "end", "n_evenly", "every_s"),
    [(-1, None, None, None), (5, 5, None, None), (0, None, 0, None), (0, None, 4, 1.0),
     (0, None, None, 0.0)],
)  # fmt: skip
def test_impossible_selections_are_refused(start, end, n_evenly, every_s):
    with pytest.raises(SettingError):
        FrameSelection(start, end, n_evenly, every_s)


def test_png_survives_unchanged():
    rng = np.random.default_rng(0)
    for channels in (1, 3):
        pixels = rng.integers(0, 255, (20, 30, channels), dtype=np.uint8)
        np.testing.assert_array_equal(decode_png(encode_png(pixels), channels), pixels)


# Pictures


def colours(side: int = 40) -> np.ndarray:
    rgb = np.zeros((side, side, 3), np.uint8)
    rgb[: side // 2] = (200, 30, 60)
    rgb[side // 2 :] = (20, 120, 220)
    return rgb


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by half
    Image.fromarray(colours()).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "turned.png"), colours()[::-1])


def test_sixteen_bit_grey_keeps_its_range(tmp_path):
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    rgb = read_image(tmp_path / "deep.png")
    assert rgb.shape == (64, 64, 3) and rgb.dtype == np.uint8
    assert (rgb.min(), rgb.max()) == (0, 255)
    assert abs(float(rgb.mean()) - 127.5) < 1


def test_transparency_is_laid_on_white(tmp_path):
    rgba = np.dstack([colours(), np.full((40, 40), 255, np.uint8)])
    rgba[:10, :, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "alpha.png")
    rgb = read_image(tmp_path / "alpha.png")
    assert (rgb[:10] == 255).all()
    np.testing.assert_array_equal(rgb[10:], colours()[10:])


def test_cmyk_becomes_rgb(tmp_path):
    Image.fromarray(colours()).convert("CMYK").save(tmp_path / "print.jpg", quality=95)
    rgb = read_image(tmp_path / "print.jpg")
    assert np.abs(rgb.astype(int) - colours().astype(int)).mean() < 12


@pytest.mark.parametrize("content", [b"", b"not a picture at all", b"\x89PNG\r\n\x1a\n cut"])
def test_unreadable_pictures_are_refused(tmp_path, content):
    path = tmp_path / "face.png"
    path.write_bytes(content)
    with pytest.raises(MediaError, match=r"face\.png"):
        read_image(path)


@pytest.mark.parametrize("name", ["waving.webp", "waving.png", "pages.tif"])
def test_several_pictures_in_one_file_are_not_judged_by_their_first(tmp_path, name):
    pages = [Image.fromarray(colours()), Image.fromarray(colours()[::-1])]
    pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
    with pytest.raises(MediaError, match="2 pictures in one file"):
        read_image(tmp_path / name)


def test_pixels_of_unknown_range_are_refused(tmp_path):
    Image.fromarray(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)).save(tmp_path / "f.tif")
    with pytest.raises(MediaError, match="unknown range"):
        read_image(tmp_path / "f.tif")


@pytest.mark.filterwarnings("error")
def test_a_large_photo_is_read_without_a_word(tmp_path, monkeypatch):
    Image.fromarray(colours()).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # refused from twice as many
    assert read_image(tmp_path / "large.png").shape == (40, 40, 3)


def test_cut_off_jpeg_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (200, 200, 3), dtype=np.uint8)).save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(MediaError, match="cannot be decoded"):
        read_image(tmp_path / "a.jpg")


def test_empty_folder_says_what_was_expected(tmp_path):
    with pytest.raises(InputError, match="no file to read"):
        find_media(tmp_path, {".mp4"})


def test_a_folder_that_cannot_be_read_stands_among_its_files(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.mp4").touch()

    def closed_to_us(really):
        def look(path):
            if Path(path).name == "closed":
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return really(path)

        return look

    for name in ("scandir", "listdir"):
        monkeypatch.setattr(os, name, closed_to_us(getattr(os, name)))
    assert find_media(tmp_path, {".mp4"}) == [tmp_path / "a.mp4", tmp_path / "closed"]
    with pytest.raises(MediaError, match=r"closed: cannot be read \(Permission denied\)"):
        check_file(tmp_path / "closed")


@pytest.mark.parametrize("claim", ["aa:00:00.0", "nan:00:00", "-1:00:00", "inf:00:00", "1:2"])
def test_a_duration_that_is_none_is_not_believed(numbered, tmp_path, claim):
    path = tmp_path / "tag.mkv"
    with av.open(str(numbered)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    data = path.read_bytes()
    at = data.index(b"DURATION") + len("DURATION")
    start = data.index(b"00:00:", at)
    path.write_bytes(data[:start] + claim.encode().ljust(18, b"\0") + data[start + 18 :])
    assert probe(path).duration_claimed_s is None
    assert count_frames(path) > 0


def test_a_demuxer_that_fails_is_a_media_error(numbered, monkeypatch):
    def failing(*_):
        raise av.error.InvalidDataError(1, "bad data")

    monkeypatch.setattr("mdcsd.video.Damage.count", failing)
    with pytest.raises(MediaError, match="cannot be read to its end"):
        count_frames(numbered)


def test_a_playlist_does_not_open_the_file_beside_it(numbered, tmp_path):
    (tmp_path / "other.mp4").write_bytes(numbered.read_bytes())
    path = tmp_path / "cc.mp4"
    path.write_text("ffconcat version 1.0\nfile other.mp4\n")
    with pytest.raises(MediaError, match="not a video that can be opened"):
        probe(path)


def test_a_relative_name_may_hold_a_colon(numbered, tmp_path, monkeypatch):
    (tmp_path / "2026-11-24T12:00.mp4").write_bytes(numbered.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert count_frames(Path("2026-11-24T12:00.mp4")) > 0


@pytest.mark.parametrize(("aspect", "width"), [("64/45", 137), ("4/5", 77), ("90/1", 96)])
def test_oblong_pixels_become_square(tmp_path, aspect, width):
    """DV, DVD and HDV store narrow pictures; a header's slip is not believed."""
    path = tmp_path / "pal.mp4"
    frame = np.zeros((64, 96, 3), np.uint8)
    frame[:, :48] = 255
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(aspect)
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    frames = list(iter_frames(path, FrameSelection()))
    assert [shown.rgb.shape for shown in frames] == [(64, width, 3)] * 5
    assert frames[0].rgb[:, : width // 2 - 8].min() > 200
    assert frames[0].rgb[:, width // 2 + 8 :].max() < 50
    assert len(read_container_facts(path).hints) == (width != 96)


def test_frames_decoded_ahead_are_the_same_and_so_are_errors(numbered, tmp_path):
    chosen = FrameSelection(n_evenly=7)
    for ours, theirs in zip(
        decoded_ahead(iter_frames(numbered, chosen)), iter_frames(numbered, chosen), strict=True
    ):
        assert ours.index == theirs.index and np.array_equal(ours.rgb, theirs.rgb)
    with pytest.raises(MediaError, match="not a video"):
        path = tmp_path / "text.mp4"
        path.write_text("no video")
        list(decoded_ahead(iter_frames(path, chosen)))


def test_what_is_decoded_ahead_stays_a_few_frames_ahead_and_ends_with_its_caller():
    taken = []

    def frames():
        try:
            for index in range(100):
                taken.append(index)
                yield Frame(index, index / 25, np.zeros((2, 2, 3), np.uint8))
        finally:
            taken.append("closed")

    ahead = decoded_ahead(frames(), n_ahead=3)
    assert next(ahead).index == 0 and next(ahead).index == 1
    ahead.close()
    assert taken[-1] == "closed" and len(taken) <= 6
    assert not [each for each in threading.enumerate() if each.name.startswith("decoding")]


def test_of_an_empty_folder_it_is_said_what_is_read(tmp_path):
    with pytest.raises(InputError, match=r"\.avi .*\.heic .*\.jpg .*\.wmv\.$"):
        check_file(tmp_path)
