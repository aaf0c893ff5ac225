"""Pseudo-fakes: seeded, equal outside the mask, seen inside, of every kind and region."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mdcsd.augment_config import KINDS, REGIONS, BlendConfig
from mdcsd.blend import Blend, blend_face, mean_difference
from mdcsd.blend_preview import find_faces
from mdcsd.cli import main
from mdcsd.donors import Donor
from mdcsd.errors import InternalError, SettingError
from mdcsd.pictures import encode_png, read_image
from mdcsd.recipe import load_settings

DEFAULT = BlendConfig()


def only(kind: str | None = None, region: str | None = None) -> BlendConfig:
    weights = {name: float(name == kind) for name in KINDS if kind}
    weights |= {name: float(name == region) for name in REGIONS if region}
    return BlendConfig(**weights)


@pytest.fixture(scope="module")
def picture(portrait, tmp_path_factory):
    path = tmp_path_factory.mktemp("blend") / "portrait.png"
    path.write_bytes(encode_png(portrait))
    return path


@pytest.fixture(scope="module")
def face(picture) -> tuple[np.ndarray, np.ndarray]:
    """A crop of scale 1.3, 256 px, and its landmarks."""
    (found,) = find_faces([picture], 1)
    return found.rgb, found.landmarks_xy_px


@pytest.fixture(scope="module")
def tight(face) -> tuple[np.ndarray, np.ndarray]:
    """The same face as DFDC's crops have it: scale 1.05, 224 px."""
    rgb, landmarks = face
    kept = round(256 * 1.05 / 1.3)
    off = (256 - kept) // 2
    crop = cv2.resize(rgb[off : off + kept, off : off + kept], (224, 224))
    return crop, ((landmarks - off) * 224 / kept).astype(np.float32)


def blends(face, config: BlendConfig, count: int, seed: int = 0) -> list[Blend]:
    rng = np.random.default_rng(seed)
    return [blend_face(*face, config, rng) for _ in range(count)]


def check_pair(blend: Blend) -> None:
    assert blend.real.dtype == blend.fake.dtype == np.uint8 and blend.mask.dtype == np.float32
    assert blend.mask.min() >= 0 and 0 < blend.mask.max() <= 1
    outside = blend.mask == 0
    assert outside.any() and np.array_equal(blend.real[outside], blend.fake[outside])
    assert not np.array_equal(blend.real, blend.fake)


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_only_the_masked_part_changes_and_is_seen(face, kind, region):
    for blend in blends(face, only(kind, region), 3):
        check_pair(blend)
        assert (blend.kind, blend.region) == (kind, region)
        assert 0.5 < mean_difference(blend) < 60
        assert (blend.mask > 0).mean() <= DEFAULT.largest_mask


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_and_nothing_else(face, kind):
    np.random.seed(1)
    cv2.setRNGSeed(1)
    first = blends(face, only(kind), 3, seed=7)
    np.random.seed(2)
    cv2.setRNGSeed(2)
    for one, two in zip(first, blends(face, only(kind), 3, seed=7), strict=True):
        assert np.array_equal(one.real, two.real) and np.array_equal(one.fake, two.fake)
        assert np.array_equal(one.mask, two.mask) and one.region == two.region
    assert not np.array_equal(first[0].mask, first[1].mask)


def test_what_is_given_stays(face):
    rgb, landmarks = face[0].copy(), face[1].copy()
    blends(face, DEFAULT, 10)
    assert np.array_equal(rgb, face[0]) and np.array_equal(landmarks, face[1])


def test_kinds_and_regions_come_as_often_as_they_weigh(face):
    drawn = blends(face, DEFAULT, 150)
    assert {blend.kind for blend in drawn} == set(KINDS)
    assert {blend.region for blend in drawn} == set(REGIONS)
    assert 0.4 < np.mean([blend.kind == "self_blend" for blend in drawn]) < 0.7
    assert 0.35 < np.mean([blend.region == "face" for blend in drawn]) < 0.65


@pytest.mark.parametrize("region", REGIONS)
def test_another_persons_face_stays_inside_the_mask(face, region):
    other = Donor(np.ascontiguousarray(face[0][:, ::-1, ::-1]), face[1])  # mirrored, and blue
    rng = np.random.default_rng(0)
    for _ in range(3):
        blend = blend_face(*face, only(None, region), rng, other)
        check_pair(blend)
        assert (blend.kind, blend.region) == ("other_person", region)
        assert mean_difference(blend) > 1 and (blend.mask > 0).mean() <= DEFAULT.largest_mask


def test_blends_made_small_are_softer_and_still_stay_inside_the_mask(face):
    def sharpness(config: BlendConfig) -> float:
        drawn = blends(face, config, 12)
        for blend in drawn:
            check_pair(blend)
            assert blend.fake.shape == face[0].shape
        return float(np.mean([cv2.Laplacian(each.real, cv2.CV_64F).var() for each in drawn]))

    assert sharpness(BlendConfig(smallest=0.3)) < 0.7 * sharpness(DEFAULT)
    rng = np.random.default_rng(0)
    check_pair(blend_face(*face, BlendConfig(smallest=0.3), rng, Donor(*face)))


def test_masks_leave_part_of_a_tight_crop(tight):
    shares = [(blend.mask > 0).mean() for blend in blends(tight, only(region="face"), 40)]
    assert max(shares) <= DEFAULT.largest_mask < 0.7
    made_small = [(blend.mask > 0).mean() for blend in blends(tight, BlendConfig(smallest=0.2), 60)]
    assert max(made_small) <= DEFAULT.largest_mask
    small = BlendConfig(largest_mask=0.2)
    assert max((blend.mask > 0).mean() for blend in blends(tight, small, 20)) <= 0.2


def test_the_jpeg_grid_of_the_original_is_no_shortcut(face):
    """At the edges of 8 x 8 blocks a JPEG has steps; neither real nor fake may keep them."""

    def steps_at_edges(rgb: np.ndarray) -> float:
        across = np.abs(np.diff(rgb.astype(float).mean(axis=2), axis=1)).mean(axis=0)
        edges = np.arange(across.size) % 8 == 7
        return across[edges].mean() / across[~edges].mean()

    content = cv2.imencode(".jpg", face[0], (cv2.IMWRITE_JPEG_QUALITY, 12))[1]
    coded = cv2.imdecode(content, cv2.IMREAD_COLOR)
    before = steps_at_edges(coded)
    drawn = blends((coded, face[1]), only("self_blend"), 20)
    for pictures in ([each.real for each in drawn], [each.fake for each in drawn]):
        after = np.mean([steps_at_edges(picture) for picture in pictures])
        assert before > 1.5 and abs(after - 1) < 0.4 * (before - 1)


def test_a_constant_picture_is_recoloured(face):
    flat = np.full_like(face[0], 120)
    for blend in blends((flat, face[1]), only("self_blend"), 5):
        check_pair(blend)
    (still,) = blends((flat, face[1]), only("smooth"), 1)  # nothing to smooth; no crash
    assert np.isfinite(still.mask).all()


@pytest.mark.parametrize("shift", [(-90, 0), (90, 60), (0, 150), (1000, 1000)])
def test_landmarks_may_lie_outside_the_crop(face, shift):
    for region in REGIONS:
        for blend in blends((face[0], face[1] + np.float32(shift)), only("self_blend", region), 2):
            check_pair(blend)


@pytest.mark.parametrize("side", [64, 150, 299])
def test_every_side_of_a_crop_goes(face, side):
    small = (cv2.resize(face[0], (side, side)), (face[1] * side / 256).astype(np.float32))
    for kind in KINDS:
        (blend,) = blends(small, only(kind, "face"), 1)
        assert blend.fake.shape == (side, side, 3)
        check_pair(blend)


def test_other_landmarks_are_our_bug(face):
    with pytest.raises(InternalError, match="468"):
        blend_face(face[0], face[1][:68], DEFAULT, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("assignments", "words"),
    [
        (["blend.mouht=1"], "unknown setting blend.mouht. Did you mean 'mouth'"),
        (["blnd.mouth=1"], "Did you mean 'blend'"),
        (["blend.share=1.2"], "blend.share 1.2: expected 0 to 1."),
        (["blend.nose=-1"], "blend.nose -1: expected 0 to"),
        (["blend.other_person=1.1"], "blend.other_person 1.1: expected 0 to 1."),
        (["blend.smallest=0"], "blend.smallest 0: expected 0.05 to 1."),
        (["blend.largest_mask=0"], "blend.largest_mask 0: expected 0.01 to 1."),
        ([f"blend.{name}=0" for name in KINDS], "all are 0"),
    ],
)
def test_settings_out_of_range_are_refused(assignments, words):
    with pytest.raises(SettingError) as refused:
        load_settings(None, assignments, {})
    assert words in str(refused.value)


def test_by_default_no_batch_has_blends():
    assert load_settings(None, [], {}).blend.share == 0


def leaves(arguments: list[str]) -> int:
    try:
        main(arguments)
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return 0


def test_the_sheet_is_the_seeds(picture, tmp_path, capsys):
    sheets = []
    for name, seed in (("a.png", "3"), ("b.png", "3"), ("c.png", "4")):
        out = tmp_path / name
        words = ["blend", str(picture), "--preview", str(out), "--count", "8", "--seed", seed]
        assert leaves(words) == 0
        sheets.append(read_image(out))
    assert sheets[0].shape == (2 * (4 * 256 + 26), 6 * 262, 3)
    assert np.array_equal(sheets[0], sheets[1]) and not np.array_equal(sheets[0], sheets[2])
    assert "8 blend(s) of 1 face(s)" in capsys.readouterr().out


def test_the_sheet_obeys_the_settings(picture, tmp_path, capsys):
    words = ["blend", str(picture), "--preview", str(tmp_path / "a.png"), "--count", "4"]
    for name in KINDS:
        words += ["--set", f"blend.{name}={int(name == 'codec')}"]
    assert leaves(words) == 0
    assert "4 codec" in capsys.readouterr().out


def test_the_sheet_shows_other_peoples_faces(clip, picture, tmp_path, capsys):
    words = ["--preview", str(tmp_path / "a.png"), "--count", "6", "--set", "blend.other_person=1"]
    assert leaves(["blend", str(picture), str(clip), *words]) == 0
    assert "6 blend(s) of 5 face(s): 6 other_person" in capsys.readouterr().out
    one = ["blend", str(picture), str(clip), *words[:2], "--count", "1", *words[4:]]
    assert leaves(one) == 0
    assert "1 blend(s)" in capsys.readouterr().out
    for given in ([str(clip), *words], [str(clip), "--pairs", str(tmp_path / "p"), *words]):
        assert leaves(["blend", *given]) == 2
        said = capsys.readouterr().err
        assert "blend.other_person" in said and said.count("\n") == 1
    assert not (tmp_path / "p").exists()


def test_a_video_gives_four_frames(clip, tmp_path, capsys):
    out = tmp_path / "a.png"
    assert leaves(["blend", str(clip), "--preview", str(out), "--count", "6"]) == 0
    assert "6 blend(s) of 4 face(s)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "out", "words"),
    [
        ("grey.png", "sheet.png", "no face found in 1 file(s)"),
        ("missing.png", "sheet.png", "no such file"),
        ("broken.png", "sheet.png", "not a picture"),
        ("grey.png", "sheet.jpg", "expected a name that ends in .png"),
        ("grey.png", "grey.png", "it is one of the inputs"),
    ],
)
def test_what_cannot_be_shown_is_said_in_one_line(tmp_path, capsys, given, out, words):
    grey = encode_png(np.full((80, 80, 3), 99, np.uint8))
    (tmp_path / "grey.png").write_bytes(grey)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    before = sorted(tmp_path.iterdir())
    assert leaves(["blend", str(tmp_path / given), "--preview", str(tmp_path / out)]) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before and (tmp_path / "grey.png").read_bytes() == grey


def test_pairs_are_class_folders_that_can_be_prepared(picture, tmp_path):
    from mdcsd.config import PrepareDatasetConfig
    from mdcsd.prepare_dataset import prepare_dataset

    folder = tmp_path / "pairs"
    assert leaves(["blend", str(picture), "--pairs", str(folder)]) == 0
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    stem = picture.stem
    assert names == [f"test/original/{stem}_0000.png", f"test/self_blend/{stem}_0000.png"]
    config = PrepareDatasetConfig(directory=str(folder), raw=True, color=True)
    assert prepare_dataset(config).labels == {"original": 0, "self_blend": 1}
    assert leaves(["blend", str(picture), "--pairs", str(folder)]) == 2  # not empty now
    assert leaves(["blend", str(picture)]) == 2  # nothing to write


def test_two_pictures_of_one_name_do_not_overwrite_each_other(picture, tmp_path, capsys):
    twin = tmp_path / "twin" / picture.name
    twin.parent.mkdir()
    twin.write_bytes(picture.read_bytes())
    words = ["blend", str(picture), str(twin), "--pairs", str(tmp_path / "pairs")]
    assert leaves(words) == 2
    assert f"several inputs are called {picture.stem}" in capsys.readouterr().err
    assert not (tmp_path / "pairs").exists()
