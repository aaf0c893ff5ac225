"""What a decoder paints: learned from real faces alone, seeded, inside the mask."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import mdcsd
from mdcsd import autoencoder, storage
from mdcsd.augment_config import KINDS, AutoencoderConfig, BlendConfig
from mdcsd.autoencoder import fit_autoencoder, open_repainter
from mdcsd.blend import blend_face
from mdcsd.blend_preview import find_faces
from mdcsd.checkpoint import load_checkpoint, load_tensors, save_tensors
from mdcsd.cli import main
from mdcsd.config import PrepareDatasetConfig
from mdcsd.donors import Donor
from mdcsd.embedding import embed_checkpoint
from mdcsd.errors import CheckpointError, DataError, InputError, SettingError
from mdcsd.loader import iter_batches
from mdcsd.pictures import encode_png
from mdcsd.prepare_dataset import prepare_dataset
from mdcsd.recipe import load_settings
from mdcsd.shard_set import join_shards, open_shards
from mdcsd.split_writer import dataset_folder
from mdcsd.training import open_training_faces, train
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
    fitted = fit_autoencoder(config, lambda *step: seen.append(step))
    assert seen[-1] == (100, 100) and len(seen) == 100
    return path, fitted, config


@pytest.fixture(scope="module")
def repaint(trained):
    return open_repainter(only_painted(trained[0]))


@pytest.fixture(scope="module")
def face(portrait, tmp_path_factory):
    path = tmp_path_factory.mktemp("painted") / "portrait.png"
    path.write_bytes(encode_png(portrait))
    (found,) = find_faces([path], 1)
    return path, found.rgb, found.landmarks_xy_px


def only_painted(path) -> BlendConfig:
    return BlendConfig(autoencoder=1.0, autoencoder_file=str(path), **dict.fromkeys(KINDS, 0.0))


def test_it_learns_real_faces_alone(trained, with_landmarks):
    """Also where manipulated faces have landmarks."""
    _, fitted, _ = trained
    shards = open_shards(with_landmarks[0])
    assert fitted.n_faces == shards.counts[0]
    assert fitted.last_loss < 0.85 * fitted.first_loss
    points = np.tile(np.linspace(0.2, 0.8, 468, dtype=np.float32)[:, None], (1, 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mdcsd.records._landmarks", lambda features: points)
        assert len(autoencoder._real_faces(shards)) == shards.counts[0]


def test_the_seed_decides_the_weights(trained, with_landmarks, tmp_path):
    few = replace(trained[2], steps=2)
    made = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        path = tmp_path / f"{name}.safetensors"
        fit_autoencoder(replace(few, output=str(path), seed=seed))
        made.append(load_tensors(path)[0])
    one, same, other = (each["encoder.0.weight"] for each in made)
    assert torch.allclose(one, same, atol=1e-5) and not torch.allclose(one, other, atol=1e-3)


def test_it_paints_the_face_and_nothing_else(repaint, face):
    _, rgb, points = face
    before = rgb.copy()
    painted = repaint(rgb, points, np.random.default_rng(0))
    box = autoencoder._face_box(points, rgb.shape[0])
    outside = np.ones(rgb.shape[:2], bool)
    outside[box] = False
    assert np.array_equal(rgb, before) and painted.dtype == np.uint8
    assert outside.any() and np.array_equal(painted[outside], rgb[outside])
    near = np.abs(painted[box].astype(float) - rgb[box]).mean()
    unlike = np.abs(rgb[box][::-1].astype(float) - rgb[box]).mean()
    assert 1 < near < 0.7 * unlike  # the face, not any picture
    sharp, soft = (cv2.Laplacian(each[box], cv2.CV_64F).var() for each in (rgb, painted))
    assert soft < sharp


def test_the_paint_fades_to_the_edge_of_its_box(repaint, face):
    """A straight seam there would be a shortcut: masks reach over it."""
    _, rgb, points = face
    box = autoencoder._face_box(points, rgb.shape[0])
    differences = [
        np.abs(repaint(rgb, points, np.random.default_rng(seed))[box].astype(int) - rgb[box])
        for seed in range(6)
    ]
    change = np.mean(differences, axis=(0, 3))
    edge = np.concatenate([change[0], change[-1], change[:, 0], change[:, -1]])
    inside = change[change.shape[0] // 5 : -(change.shape[0] // 5)]
    assert edge.max() == 0 and inside[:, inside.shape[1] // 5 : -(inside.shape[1] // 5)].mean() > 3


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


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_donors_are_painted_as_often_as_asked(face, share):
    _, rgb, points = face
    red = np.zeros_like(rgb)
    red[..., 0] = 255
    reds, config = 0, BlendConfig(painted_donors=share)
    for seed in range(30):
        rng = np.random.default_rng(seed)
        blend = blend_face(rgb, points, config, rng, Donor(rgb, points), lambda *_: red)
        assert blend.kind == "other_person"
        inside = blend.mask > 0.9 * blend.mask.max()
        reds += bool(np.ptp(blend.fake[inside].astype(float)[:, 1]) < 60)  # no feature is left
    assert abs(reds - 30 * share) <= 8 * (share == 0.5)


def test_a_checkpoint_says_what_painted_and_embedding_forgets_the_folder(
    trained, with_landmarks, tmp_path
):
    settings = given(with_landmarks, tmp_path / "run", epochs=1)
    settings = replace(settings, blend=replace(only_painted(trained[0]), share=0.5))
    best = train(settings).best
    known = load_checkpoint(best).provenance
    shards = open_shards(with_landmarks[0])
    told = {"sha256": storage.sha256_of(trained[0]), "data": shards.name}
    assert known["autoencoder"].items() >= told.items()
    assert known["autoencoder"]["fingerprint"] == join_shards([shards]).fingerprint
    output = tmp_path / "small.safetensors"
    embed_checkpoint(best, "for tests", "made clips", output)
    file = load_checkpoint(output).provenance["settings"]["blend"]["autoencoder_file"]
    assert file == trained[0].name


def test_training_paints_alike_in_any_process(trained, with_landmarks, tmp_path):
    settings = given(with_landmarks, tmp_path / "run", balance="none")
    blends = {
        name: replace(only_painted(path), share=1.0)
        for name, path in (
            ("painted", trained[0]),
            ("other", trained[0].with_name("other.safetensors")),
        )
    }
    fit_autoencoder(replace(trained[2], steps=1, output=blends["other"].autoencoder_file))
    made = {}
    for name, blend in blends.items():
        data, draw = open_training_faces(setup(replace(settings, blend=blend)))
        order = [int(i) for i in draw(0)[:4]]
        here, there = (
            torch.cat([b.image for b in iter_batches(data, [[[i]] for i in order], 0, workers)])
            for workers in (0, 2)
        )
        assert torch.equal(here, there)
        fakes = [number for number, i in enumerate(order) if data[i][1] == 1]
        made[name] = here[fakes]
    assert not torch.equal(made["painted"], made["other"])  # the file is what paints


def test_a_run_does_not_go_on_with_another_autoencoder(trained, with_landmarks, tmp_path):
    file = tmp_path / "faces.safetensors"
    file.write_bytes(trained[0].read_bytes())
    settings = given(with_landmarks, tmp_path / "run", epochs=1)
    settings = replace(settings, blend=replace(only_painted(file), share=0.5))
    train(settings)
    fit_autoencoder(replace(trained[2], steps=1, output=str(file)))
    resumed = replace(
        settings, train=replace(settings.train, resume=str(tmp_path / "run"), epochs=2)
    )
    with pytest.raises(SettingError, match=r"another blend\.autoencoder_file"):
        train(resumed)


def test_what_is_no_autoencoder_is_refused(trained, tmp_path):
    tensors, header = load_tensors(trained[0])
    narrow = tmp_path / "narrow.safetensors"
    save_tensors({**tensors, "encoder.0.bias": torch.zeros(3)}, header, narrow)
    for path, words in (
        (tmp_path / "gone.safetensors", "no such file. Train one: mdcsd autoencoder"),
        (WEIGHTS, "Expected what mdcsd autoencoder wrote"),
        (narrow, "Expected what mdcsd autoencoder wrote"),
    ):
        with pytest.raises(CheckpointError, match=words):
            open_repainter(only_painted(path))


def test_settings_may_come_in_any_order_and_are_asked_for_where_they_are_used(tmp_path):
    words = ["blend.autoencoder=1", "blend.autoencoder_file=x"]
    for order in (words, words[::-1]):
        assert load_settings(None, order, {}).blend.autoencoder_file == "x"
    assert open_repainter(BlendConfig()) is None
    with pytest.raises(SettingError, match=r"without blend\.autoencoder_file"):
        open_repainter(BlendConfig(autoencoder=1.0))
    for idle in (BlendConfig(), BlendConfig(other_person=1.0, painted_donors=0.0)):
        with pytest.raises(SettingError, match="nothing is painted by it"):
            open_repainter(replace(idle, autoencoder_file="x"))


def test_faces_kept_for_judging_and_sets_without_landmarks_are_refused(
    trained, with_landmarks, train_set, noise_classes, tmp_path
):
    grey = PrepareDatasetConfig(str(noise_classes), raw=True, output=str(tmp_path))
    prepare_dataset(grey)
    there = set(tmp_path.iterdir())
    config = replace(trained[2], output=str(tmp_path / "a.safetensors"))
    for sets, error, words in (
        ((), InputError, "expected TRAIN_DATASET"),
        ((str(with_landmarks[1]),), DataError, "the val split"),
        ((str(train_set),), DataError, "no real face with landmarks"),
        ((str(dataset_folder(grey, "train")),), DataError, "needs colour pixels"),
    ):
        with pytest.raises(error, match=words):
            fit_autoencoder(replace(config, train_datasets=sets))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(autoencoder, "_difference", lambda painted, real: painted.mean() * np.nan)
        with pytest.raises(DataError, match=r"autoencoder\.learning_rate="):
            fit_autoencoder(replace(config, steps=1))
    (tmp_path / "b.safetensors").mkdir()
    for name, words in (("b.safetensors", "is a folder"), ("b.png", "ends in .safetensors")):
        with pytest.raises(InputError, match=words):
            fit_autoencoder(replace(config, output=str(tmp_path / name)))
    (tmp_path / "b.safetensors").rmdir()
    assert set(tmp_path.iterdir()) == there


def test_interrupted_it_says_that_nothing_is_kept(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(autoencoder, "fit_autoencoder", interrupted)
    with pytest.raises(SystemExit) as left:
        main(["autoencoder", "a_tf", "--output", "a.safetensors"])
    assert left.value.code == 130 and "nothing was saved" in capsys.readouterr().err


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


def test_data_that_cannot_be_read_are_no_output_that_cannot_be_written(
    with_landmarks, tmp_path, monkeypatch
):
    def closed(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(autoencoder, "open_shards", closed)
    output = tmp_path / "faces.safetensors"
    config = AutoencoderConfig(train_datasets=(str(with_landmarks[0]),), output=str(output))
    with pytest.raises(OSError, match="Input/output error"):
        fit_autoencoder(config)
    assert not output.exists()


def test_a_loss_that_is_no_number_ends_the_training_soon(with_landmarks, tmp_path, monkeypatch):
    monkeypatch.setattr(autoencoder, "_difference", lambda painted, _: painted.mean() * np.nan)
    config = AutoencoderConfig(
        train_datasets=(str(with_landmarks[0]),), output=str(tmp_path / "f.safetensors"),
        steps=1000, batch_size=2, device="cpu",
    )  # fmt: skip
    with pytest.raises(DataError, match=r"the loss is nan at step 100\. Give a lower"):
        fit_autoencoder(config)
