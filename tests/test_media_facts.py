"""What a file says of itself: facts as they are, hints no stronger, hostile words cut short."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, PngImagePlugin

from mdcsd.encoding import write_video
from mdcsd.errors import MediaError
from mdcsd.media_facts import (
    LOW_BITS_PER_PIXEL,
    LOW_JPEG_QUALITY,
    _is_generated,
    is_strongly_compressed,
    read_credentials,
    read_media_facts,
)
from mdcsd.pictures import read_image
from mdcsd.wording import media_warnings


@pytest.fixture
def photo(tmp_path, portrait) -> Path:
    """A JPEG with what a camera and an editor write, a place included."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Canon"
    exif[ExifTags.Base.Software] = "Adobe Photoshop 24.0"
    exif[ExifTags.Base.Orientation] = 6
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2022:11:14 17:29:54"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (52.0, 31.0, 12.0)
    path = tmp_path / "photo.jpg"
    Image.fromarray(portrait).save(path, quality=90, exif=exif)
    return path


def save_tagged(path: Path, tags: dict[str, str]) -> None:
    with av.open(str(path), "w", options={"movflags": "use_metadata_tags"}) as container:
        container.metadata.update(tags)
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
        for _ in range(5):
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_a_video(clip):
    facts = read_media_facts(clip)
    assert (facts.kind, facts.codec, facts.width_px, facts.height_px) == ("video", "h264", 320, 320)
    assert "mp4" in facts.container and "H.264" in facts.codec_description
    assert facts.frame_rate == 25 and facts.duration_s == pytest.approx(16 / 25)
    assert facts.size_bytes == clip.stat().st_size
    assert facts.bit_rate_bps <= facts.size_bytes * 8 / facts.duration_s
    assert facts.tags["encoder"].startswith("Lavf")
    assert any("Lavf" in hint and "packed anew" in hint for hint in facts.hints)


def test_what_packed_a_file_and_what_encoded_its_picture_are_both_told(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.metadata["ENCODER"] = "Lavc61.3.100 libx264"
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
        container.mux([*stream.encode(frame), *stream.encode()])
    facts = read_media_facts(path)
    told = {name: text[:4] for name, text in facts.tags.items() if "ENCODER" in name}
    assert told == {"ENCODER": "Lavf", "ENCODER of the picture": "Lavc"}
    (hint,) = facts.hints
    assert "ENCODER: Lavf" in hint and "ENCODER of the picture: Lavc61.3.100 libx264" in hint


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"x264-params": "interlaced=1"}, "interlaced"),
        ({"color_trc": "arib-std-b67"}, "HDR (HLG)"),
    ],
)
def test_interlaced_and_hdr_videos_are_told(tmp_path, options, told):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        container.mux([*stream.encode(frame), *stream.encode()])
    assert sum(hint.startswith(told) for hint in read_media_facts(path).hints) == 1


def test_a_photo_and_its_place_only_as_present_or_not(photo):
    facts = read_media_facts(photo)
    assert (facts.kind, facts.container, facts.rotation_deg) == ("picture", "jpeg", 90)
    assert facts.tags["Make"] == "Canon"
    assert facts.tags["DateTimeOriginal"] == "2022:11:14 17:29:54"
    assert facts.has_gps and "52" not in str(facts.tags)
    assert facts.hints == ("saved by editing software (Software: Adobe Photoshop 24.0)",)


def test_a_plain_picture_gives_no_hint(tmp_path, portrait):
    Image.fromarray(portrait).save(tmp_path / "a.png")
    facts = read_media_facts(tmp_path / "a.png")
    assert not facts.hints and not facts.tags and not facts.has_gps
    assert facts.jpeg_quality is None and facts.duration_s is None


@pytest.mark.parametrize("quality", [20, 50, 69, 75, 95])
def test_jpeg_quality_is_read_from_the_table(quality, tmp_path, portrait):
    Image.fromarray(portrait).save(tmp_path / "a.jpg", quality=quality)
    facts = read_media_facts(tmp_path / "a.jpg")
    assert facts.jpeg_quality == pytest.approx(quality, abs=1)
    assert is_strongly_compressed(facts) == (facts.jpeg_quality < LOW_JPEG_QUALITY)


def test_few_bits_a_pixel_are_strong_compression(tmp_path, portrait):
    frames = [np.roll(portrait[:320, :320], shift, axis=1) for shift in range(30)]
    found = {}
    for crf in (23, 45):
        write_video(tmp_path / f"{crf}.mp4", frames, 25, crf)
        found[crf] = read_media_facts(tmp_path / f"{crf}.mp4")
    assert not is_strongly_compressed(found[23]) and is_strongly_compressed(found[45])
    between = replace(found[23], bit_rate_bps=0.8 * LOW_BITS_PER_PIXEL * 25 * 320 * 320)
    assert is_strongly_compressed(between)
    assert not is_strongly_compressed(replace(between, codec="hevc"))
    above = replace(between, bit_rate_bps=1.5 * LOW_BITS_PER_PIXEL * 25 * 320 * 320)
    assert not is_strongly_compressed(above)
    assert is_strongly_compressed(replace(above, codec="mpeg1video"))
    assert not is_strongly_compressed(replace(between, bit_rate_bps=None))


def test_container_words_are_cut_short_and_places_left_out(tmp_path):
    places = {"location": "+52.5200+013.4050/", "com.apple.quicktime.location.ISO6709": "+52.52/"}
    save_tagged(tmp_path / "a.mp4", {"title": "<script>alert(1)</script>" * 100, **places})
    facts = read_media_facts(tmp_path / "a.mp4")
    assert facts.tags["title"].startswith("<script>") and len(facts.tags["title"]) == 301
    assert facts.has_gps and "52.5" not in str(facts.tags)


def test_png_words_are_read(tmp_path, portrait):
    words = PngImagePlugin.PngInfo()
    words.add_text("Software", "GIMP 2.10")
    Image.fromarray(portrait).save(tmp_path / "a.png", pnginfo=words)
    assert "GIMP" in read_media_facts(tmp_path / "a.png").hints[0]


def save_damaged(path: Path, size_wh: tuple[int, int], changes: dict[int, int]) -> None:
    """Write a black JPEG, lying on its side by its EXIF, with other bytes at some places."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Canon"
    exif[ExifTags.Base.Orientation] = 6
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2022:11:14 17:29:54"
    Image.new("RGB", size_wh).save(path, exif=exif)
    content = bytearray(path.read_bytes())
    for place, value in changes.items():
        content[place] = value
    path.write_bytes(content)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.integers(20, 219), st.integers(0, 255), min_size=1, max_size=8))
def test_damaged_exif_is_read_or_refused(tmp_path_factory, changes):
    path = tmp_path_factory.mktemp("exif") / "a.jpg"
    save_damaged(path, (16, 16), changes)
    for read in (read_image, read_media_facts):
        try:
            read(path)
        except MediaError as error:
            assert "a.jpg" in str(error)


@pytest.mark.parametrize("changes", [{41: 8}, {43: 11, 78: 5}])
def test_a_picture_of_exif_that_cannot_be_written_is_turned_upright(tmp_path, changes):
    """A tag of another number, or of another type, than its text."""
    save_damaged(tmp_path / "a.jpg", (24, 16), changes)
    assert read_image(tmp_path / "a.jpg").shape == (24, 16, 3)


def test_without_the_library_credentials_are_not_checked(photo, monkeypatch):
    monkeypatch.setitem(sys.modules, "c2pa", None)
    assert read_credentials(photo) == ("not_checked", False)
    assert read_media_facts(photo).credentials == "not_checked"


def test_no_credentials(photo, tmp_path):
    pytest.importorskip("c2pa")
    assert read_credentials(photo) == ("none", False)
    (tmp_path / "a.txt").write_text("no media")
    assert read_credentials(tmp_path / "a.txt") == ("unsupported", False)


def make_signer():
    """Sign as someone whom nobody knows: a leaf certificate of an authority made on the spot."""
    import c2pa
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def name(text):
        return x509.Name(
            [
                x509.NameAttribute(x509.NameOID.COMMON_NAME, text),
                x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Test"),
            ]
        )

    def build(subject, issuer, key, signing_key, signer_key, is_ca):
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(subject)).issuer_name(name(issuer)).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(not is_ca, False, False, False, False, is_ca, is_ca,
                                         False, False), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer_key), critical=False
            )
        )  # fmt: skip
        if not is_ca:
            usage = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.EMAIL_PROTECTION])
            builder = builder.add_extension(usage, critical=False)
        return builder.sign(signing_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    root_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = build("root", "root", root_key, root_key, root_key.public_key(), True)
    leaf = build("leaf", "root", leaf_key, root_key, root_key.public_key(), False)
    key = leaf_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    info = c2pa.C2paSignerInfo(c2pa.C2paSigningAlg.ES256, leaf + root, key, None)
    return c2pa.Signer.from_info(info)


def test_credentials_are_valid_until_the_file_is_changed(photo, tmp_path):
    c2pa = pytest.importorskip("c2pa")
    made = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    action = {"action": "c2pa.created", "digitalSourceType": made}
    manifest = {
        "claim_generator_info": [{"name": "test", "version": "1"}],
        "format": "image/jpeg",
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}],
    }
    signed = tmp_path / "signed.jpg"
    with c2pa.Builder(manifest) as builder, make_signer() as signer:
        builder.sign_file(str(photo), str(signed), signer)
    facts = read_media_facts(signed)
    assert facts.credentials == "valid"
    assert any("generative AI" in hint for hint in facts.hints)
    content = bytearray(signed.read_bytes())
    content[-200] ^= 1
    signed.write_bytes(content)
    assert read_credentials(signed)[0] == "invalid"


def test_junk_after_the_last_box_is_not_called_tampering(clip, tmp_path):
    pytest.importorskip("c2pa")
    path = tmp_path / "junk.mp4"
    path.write_bytes(clip.read_bytes() + b"\xff" * 1000)
    assert read_credentials(path)[0] != "invalid"


def test_a_manifest_elsewhere_is_not_called_tampering(portrait, tmp_path):
    pytest.importorskip("c2pa")
    xmp = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf='
        '"http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        'xmlns:dcterms="http://purl.org/dc/terms/" dcterms:provenance='
        '"https://example.org/a.c2pa"/></rdf:RDF></x:xmpmeta>'
    )
    path = tmp_path / "remote.jpg"
    Image.fromarray(portrait).save(path, xmp=xmp.encode())
    assert read_credentials(path)[0] == "unreadable"


@pytest.mark.parametrize(
    ("source", "is_generated"),
    [
        ("trainedAlgorithmicMedia", True),
        ("compositeWithTrainedAlgorithmicMedia", True),
        ("digitalCapture", False),
    ],
)
def test_the_source_types_of_generated_content(source, is_generated):
    action = {"digitalSourceType": f"http://cv.iptc.org/newscodes/digitalsourcetype/{source}"}
    manifests = {"manifests": {"a": {"assertions": [{"data": {"actions": [action]}}]}}}
    assert _is_generated(manifests) is is_generated


@pytest.mark.parametrize("is_raw", [False, True])
def test_a_place_in_a_png_packet_is_not_written(portrait, tmp_path, is_raw):
    xmp = '<x exif:GPSLatitude="52,31.2N"/>'
    info = PngImagePlugin.PngInfo()
    if is_raw:
        info.add_text("Raw profile type xmp", f"\nxmp\n {len(xmp)}\n{xmp.encode().hex()}\n")
    else:
        info.add_itxt("XML:com.adobe.xmp", xmp)
    Image.fromarray(portrait).save(tmp_path / "a.png", pnginfo=info)
    facts = read_media_facts(tmp_path / "a.png")
    assert facts.has_gps and not facts.tags


def test_warnings_are_the_hints_in_their_own_words(clip, portrait, tmp_path):
    """A picture's too: most files with Content Credentials are pictures."""
    Image.fromarray(portrait).save(tmp_path / "a.png")
    for path in (clip, tmp_path / "a.png"):
        facts = replace(read_media_facts(path), hints=("made by generative AI", "packed anew"))
        assert list(media_warnings(facts))[-2:] == ["made by generative AI", "packed anew"]


def test_a_gps_block_without_a_place_is_no_place(tmp_path, portrait):
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSVersionID] = b"\2\3\0\0"
    path = tmp_path / "indoors.jpg"
    Image.fromarray(portrait).save(path, exif=exif)
    assert not read_media_facts(path).has_gps


def test_a_codec_is_named_and_not_what_decodes_it(tmp_path):
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libsvtav1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert read_media_facts(path).codec == "av1"
