"""HEIC and AVIF: what telephones and the web keep pictures in is read as any other picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import ExifTags, Image

from mdcsd.detector import Detector
from mdcsd.errors import MediaError
from mdcsd.media_facts import read_media_facts
from mdcsd.pictures import read_image, read_picture_size
from mdcsd.video import probe

KINDS = ("heic", "avif")


def save(path: Path, *pictures: Image.Image, kind: str = "heic", exif: bytes | None = None) -> Path:
    if kind == "avif":
        pictures[0].save(path, "avif", quality=80, exif=exif or b"", save_all=len(pictures) > 1,
                         append_images=pictures[1:])  # fmt: skip
        return path
    held = pillow_heif.HeifFile()
    for picture in pictures:
        held.add_from_pillow(picture)
    held.save(path, quality=80, exif=exif)
    return path


def exif_of(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Apple"
    exif[ExifTags.Base.Orientation] = orientation
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (52.0, 31.0, 12.0)
    return exif.tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_comes_upright_once(kind, tmp_path, portrait):
    stored = Image.fromarray(np.rot90(portrait[:200, :300]))
    path = save(tmp_path / f"a.{kind}", stored, kind=kind, exif=exif_of(6))
    assert set(read_picture_size(path)) == {200, 300}
    rgb = read_image(path)
    assert rgb.shape == (200, 300, 3) and rgb.dtype == np.uint8
    assert np.abs(rgb.astype(int) - portrait[:200, :300]).mean() < 4


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_says_of_itself_is_told(kind, tmp_path, portrait):
    picture = Image.fromarray(portrait)
    facts = read_media_facts(save(tmp_path / f"a.{kind}", picture, kind=kind, exif=exif_of(1)))
    assert (facts.kind, facts.width_px, facts.height_px) == ("picture", 400, 400)
    assert facts.tags["Make"] == "Apple" and facts.has_gps and facts.jpeg_quality is None


def test_ten_bits_and_transparency_become_eight_bits_on_white(tmp_path, portrait):
    deep = portrait[:64, :64].astype(np.uint16) << 8
    held = pillow_heif.from_bytes("RGB;16", (64, 64), deep.tobytes())
    held.save(tmp_path / "deep.heic", quality=90)
    assert np.abs(read_image(tmp_path / "deep.heic").astype(int) - portrait[:64, :64]).mean() < 4
    clear = Image.fromarray(np.dstack([portrait, np.zeros((400, 400), np.uint8)]))
    assert read_image(save(tmp_path / "clear.heic", clear)).min() > 250


@pytest.mark.parametrize(("transfer", "told"), [(16, ["HDR (PQ)"]), (18, ["HDR (HLG)"]), (1, [])])
def test_an_hdr_picture_is_told(transfer, told, tmp_path, portrait):
    deep = portrait[:64, :64].astype(np.uint16) << 8
    held = pillow_heif.from_bytes("RGB;16", (64, 64), deep.tobytes())
    held.save(tmp_path / "a.heic", quality=90, transfer_characteristics=transfer)
    hints = read_media_facts(tmp_path / "a.heic").hints
    assert [hint.partition(":")[0] for hint in hints] == told


@pytest.mark.parametrize("kind", KINDS)
def test_content_goes_before_the_name(kind, tmp_path, portrait):
    """FFmpeg would take the first tile of such a picture for the whole."""
    path = save(tmp_path / "a.jpg", Image.fromarray(portrait), kind=kind)
    assert read_image(path).shape == (400, 400, 3)
    with pytest.raises(MediaError, match=r"a HEIC or AVIF picture by its content. Name it \.heic"):
        probe(path.rename(tmp_path / "a.mp4"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.9, 0.99])
def test_a_cut_off_picture_is_refused(kind, share, tmp_path, portrait):
    path = save(tmp_path / f"a.{kind}", Image.fromarray(portrait), kind=kind)
    content = path.read_bytes()
    path.write_bytes(content[: max(int(share * len(content)), 16)])
    with pytest.raises(MediaError, match=r"cut off or damaged|cannot be decoded"):
        read_image(path)


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_an_error_of_the_file(kind, tmp_path, portrait):
    path = save(tmp_path / f"a.{kind}", Image.fromarray(portrait), kind=kind)
    content = bytearray(path.read_bytes())
    coded = content.index(b"mdat") + 4
    content[coded:] = bytes(len(content) - coded)
    path.write_bytes(content)
    with pytest.raises(MediaError, match=r"cut off or damaged|cannot be decoded"):
        read_image(path)


@pytest.mark.parametrize("kind", KINDS)
def test_several_pictures_in_one_file_are_refused(kind, tmp_path, portrait):
    pictures = [Image.fromarray(np.roll(portrait, 40 * at, axis=1)) for at in range(2)]
    path = save(tmp_path / f"a.{kind}", *pictures, kind=kind)
    with pytest.raises(MediaError, match="2 pictures in one file"):
        read_image(path)


def test_it_is_judged_as_the_picture_that_it_was_made_of(tmp_path, portrait):
    detector = Detector()
    picture = Image.fromarray(portrait)
    picture.save(tmp_path / "a.png")
    plain = detector.judge(tmp_path / "a.png").score
    for kind in KINDS:
        path = save(tmp_path / f"a.{kind}", picture, kind=kind)
        assert detector.judge(path).score == pytest.approx(plain, abs=0.1)
