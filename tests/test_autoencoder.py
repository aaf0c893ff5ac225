"""What a decoder paints: learned from real faces alone, seeded, inside the mask."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import mdcsd
from mdcsd.augment_config import AutoencoderConfig, BlendConfig
from mdcsd.autoencoder import face_box, fit_autoencoder, open_repainter
from mdcsd.blend import blend_face
from mdcsd.blend_preview import find_faces
from mdcsd.cli import main
from mdcsd.donors import Donor
from mdcsd.errors import CheckpointError, DataError, InputError, SettingError
from mdcsd.pictures import encode_png
from mdcsd.shard_set import open_shards
from mdcsd.training import open_training_faces
from mdcsd.training_setup import setup
from test_training_faces import given

WEIGHTS = Path(mdcsd.__file__).parent / "weights" / "default.safetensors"


@pytest.fixture(scope="module")
def trained(with_landmarks, tmp_path_factory):
    """An autoencoder of the demo's faces, and what its training said."""
    path = tmp_path_factory.mktemp("autoencoder") / "faces.safetensors"
    config = AutoencoderConfig(
        train_datasets=(str(with_landmarks[0]),), output=str(path), steps=100, batch_size=8,
        learning_rate=4e-3, device="cpu",
    )  # fmt: skip
    seen: list[tuple[int, int]] = []
    fitted = fit_autoencoder(config, lambda step, steps, _: seen.append((step, steps)))
    assert seen[-1] == (100, 100) and len(seen) == 100
    return path, fitted, config


@pytest.fixture(scope="module")
def repaint(trained):
    return open_repainter(str(trained[0]))


@pytest.fixture(scope="module")
def face(portrait, tmp_path_factory):
    path = tmp_path_factory.mktemp("painted") / "portrait.png"
    path.write_bytes(encode_png(portrait))
    (found,) = find_faces([path], 1)
    return path, found.rgb, found.landmarks_xy_px


def only_painted(path) -> BlendConfig:
    kinds = ("self_blend", "frequency", "down_up", "codec", "low_rank", "smooth")
    return BlendConfig(autoencoder=1.0, autoencoder_file=str(path), **dict.fromkeys(kinds, 0.0))


def test_it_learns_real_faces_alone(trained, with_landmarks):
    _, fitted, _ = trained
    assert fitted.n_faces == open_shards(with_landmarks[0]).counts[0]
    assert fitted.last_loss < 0.85 * fitted.first_loss


def test_it_paints_the_face_and_nothing_else(repaint, face):
    _, rgb, points = face
    before = rgb.copy()
    painted = repaint(rgb, points, np.random.default_rng(0))
    box = face_box(points, rgb.shape[0])
    outside = np.ones(rgb.shape[:2], bool)
    outside[box] = False
    assert np.array_equal(rgb, before) and painted.dtype == np.uint8
    assert outside.any() and np.array_equal(painted[outside], rgb[outside])
    near = np.abs(painted[box].astype(float) - rgb[box]).mean()
    unlike = np.abs(rgb[box][::-1].astype(float) - rgb[box]).mean()
    assert 1 < near < 0.7 * unlike  # the face, not any picture
    sharp, soft = (cv2.Laplacian(each[box], cv2.CV_64F).var() for each in (rgb, painted))
    assert soft < sharp


def test_the_generator_decides_how_it_is_painted(repaint, face):
    _, rgb, points = face
    one, same, other = (repaint(rgb, points, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(one, same) and not np.array_equal(one, other)


@pytest.mark.parametrize("shift", [(-200, 0), (500, 500), (0, 90)])
@pytest.mark.parametrize("side", [24, 224])
def test_landmarks_may_lie_outside_and_crops_be_small(repaint, face, side, shift):
    _, rgb, points = face
    small = np.asarray(cv2.resize(rgb, (side, side)), np.uint8)
    moved = (points * side / 256 + np.float32(shift)).astype(np.float32)
    assert repaint(small, moved, np.random.default_rng(0)).shape == small.shape


def test_a_painted_blend_changes_what_the_mask_says(trained, repaint, face):
    _, rgb, points = face
    rng = np.random.default_rng(0)
    for config in (only_painted(trained[0]), replace(only_painted(trained[0]), smallest=0.4)):
        for _ in range(4):
            blend = blend_face(rgb, points, config, rng, repaint=repaint)
            assert blend.kind == "autoencoder"
            outside = blend.mask == 0
            assert outside.any() and np.array_equal(blend.real[outside], blend.fake[outside])
            assert not np.array_equal(blend.real, blend.fake)


def test_half_of_the_donors_are_painted(trained, face):
    _, rgb, points = face
    painted = []

    def paints(rgb, points, rng):
        painted.append(rgb.shape)
        return rgb

    rng = np.random.default_rng(0)
    for _ in range(60):
        blend = blend_face(rgb, points, BlendConfig(), rng, Donor(rgb, points), paints)
        assert blend.kind == "other_person"
    assert 15 < len(painted) < 45


def test_training_paints(trained, with_landmarks, tmp_path):
    settings = given(with_landmarks, tmp_path / "run", balance="none")
    settings = replace(settings, blend=replace(only_painted(trained[0]), share=1.0))
    data, draw = open_training_faces(setup(settings))
    fakes = [int(i) for i in draw(0) if data[int(i)][1] == 1]
    first = data[fakes[0]][0]
    data.epoch = 1
    assert fakes and not bool((first == data[fakes[0]][0]).all())


def test_what_is_no_autoencoder_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        open_repainter(str(tmp_path / "gone.safetensors"))
    with pytest.raises(CheckpointError, match="Expected what mdcsd autoencoder wrote"):
        open_repainter(str(WEIGHTS))
    assert open_repainter(None) is None


def test_a_kind_without_its_file_is_refused():
    with pytest.raises(SettingError, match=r"without blend\.autoencoder_file"):
        BlendConfig(autoencoder=1.0)


def test_faces_kept_for_judging_and_sets_without_landmarks_are_refused(
    trained, with_landmarks, train_set, tmp_path
):
    config = replace(trained[2], output=str(tmp_path / "a.safetensors"))
    for sets, error, words in (
        ((), InputError, "expected TRAIN_DATASET"),
        ((str(with_landmarks[1]),), DataError, "the val split"),
        ((str(train_set),), DataError, "no real face with landmarks"),
    ):
        with pytest.raises(error, match=words):
            fit_autoencoder(replace(config, train_datasets=sets))
    assert not list(tmp_path.iterdir())


def test_the_command_trains_and_the_sheet_shows(with_landmarks, face, tmp_path, capsys):
    path, sheet = tmp_path / "a.safetensors", tmp_path / "sheet.png"
    words = ["autoencoder", str(with_landmarks[0]), "--output", str(path), "--steps", "20"]
    for arguments in (
        [*words, "--set", "autoencoder.batch_size=4"],
        ["blend", str(face[0]), "--preview", str(sheet), "--count", "2",
         "--set", f"blend.autoencoder_file={path}", "--set", "blend.autoencoder=1000"],
    ):  # fmt: skip
        try:
            main(arguments)
        except SystemExit as leaving:
            assert not leaving.code
    said = capsys.readouterr().out
    assert str(path) in said and "2 autoencoder" in said and sheet.stat().st_size > 1000
