"""What an epoch draws, and that a blend and its real face are treated alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from conftest import save_noise
from mdcsd import training_faces
from mdcsd.augment_config import AugmentConfig, BlendConfig
from mdcsd.blend import blend_face
from mdcsd.config import PrepareDatasetConfig, TrainConfig
from mdcsd.detector import whole_picture
from mdcsd.errors import DataError, SettingError
from mdcsd.loader import Classes, cut_training_batches, epoch_order, iter_batches
from mdcsd.nouns import Frame
from mdcsd.pictures import encode_png, read_image
from mdcsd.prepare_dataset import prepare_dataset
from mdcsd.preprocess import PreprocessSpec
from mdcsd.recipe import load_settings
from mdcsd.shard_set import join_shards, open_shards
from mdcsd.split_writer import dataset_folder
from mdcsd.training import open_training_faces, train
from mdcsd.training_faces import EpochDraw, TrainingFaces, count_repeats, draw_epoch
from mdcsd.training_setup import count_classes, setup

SPEC = PreprocessSpec(64, 3, "raw", 1.3, 299)
LABELS = np.array([0] * 10 + [1] * 30)
WHO = [f"p{i % 10}" for i in range(40)]
BLENDABLE = np.arange(10)


def faces(path, augment, share=0.0, seed=0):
    shards = open_shards(path)
    classes = Classes(
        ("original", "fake"), {n: int(i > 0) for i, n in enumerate(shards.class_names)}
    )
    return TrainingFaces(shards, SPEC, classes, augment, BlendConfig(share=share), seed)


def test_faces_are_kept_as_they_were_before_they_lost_quality(with_landmarks):
    lossy = AugmentConfig(enabled=True, flip=0, crop=0, colour=0, jpeg=1, jpeg_highest=50)
    shards = open_shards(with_landmarks[0])
    classes = Classes(shards.class_names, {name: i for i, name in enumerate(shards.class_names)})
    plain, without, kept = (
        TrainingFaces(shards, SPEC, classes, each, BlendConfig(share=0.5), 0, None, keeps)
        for each, keeps in ((AugmentConfig(), False), (lossy, False), (lossy, True))
    )
    n = len(kept)
    for index in (0, n, 2 * n):  # a record as it is, and both sides of a blend
        assert without[index][3] is None
        assert torch.equal(without[index][0], kept[index][0])
        assert torch.equal(plain[index][0], kept[index][3])
        assert not torch.equal(kept[index][0], kept[index][3])
    (batch,) = iter_batches(kept, [[[0, n]]], 0, 0)
    assert torch.equal(batch.intact, torch.stack([kept[0][3], kept[n][3]]))


def draw(share, balance="none", n_drawn=40, epoch=0):
    return draw_epoch(LABELS, WHO, BLENDABLE, share, balance, n_drawn, 0, epoch)


def test_without_blends_an_epoch_is_what_it_was():
    assert draw(0.0).tolist() == epoch_order(40, 0, 0).tolist()
    assert draw(0.0, "sampling").tolist() == epoch_order(40, 0, 0, LABELS).tolist()


@pytest.mark.parametrize("n_drawn", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize("balance", ["none", "sampling", "couples"])
def test_blends_alone_come_in_pairs_whatever_the_number(n_drawn, balance):
    drawn = draw(1.0, balance, n_drawn=n_drawn)
    assert n_drawn <= len(drawn) <= n_drawn + 1


def test_a_blend_stands_beside_its_real_face_in_one_batch():
    order = draw(0.5, n_drawn=40)
    kinds, records = np.divmod(order, 40)
    assert np.bincount(kinds, minlength=3).tolist() == [20, 10, 10]
    for batch in cut_training_batches(order.tolist(), 8, 1):
        there = set(batch[0])
        for index in there:
            if index >= 40:
                partner = index + 40 if index < 80 else index - 40
                assert partner in there
    assert set(records[kinds > 0]) <= set(BLENDABLE)
    assert not np.array_equal(order, draw(0.5, epoch=1))


def test_couples_are_of_one_person():
    order = draw(0.0, "couples")
    for real, fake in order.reshape(-1, 2):
        assert (LABELS[real], LABELS[fake]) == (0, 1)
        assert WHO[real] == WHO[fake]


def test_couples_need_somebody_who_is_both(with_landmarks):
    data = faces(with_landmarks[0], AugmentConfig())
    labels = data.labels()
    data.people = lambda: [(f"{label} {i}", True) for i, label in enumerate(labels)]
    with pytest.raises(DataError, match="no source id is of both"):
        EpochDraw(data, TrainConfig(balance="couples"), BlendConfig())


def test_of_an_oblong_crop_the_middle_square_is_learned_and_judged(tmp_path):
    """Wide crops lost their right side, high ones ended a training."""
    for folder in ("original", "fake"):
        for number, size in enumerate(((80, 120, 3), (120, 80, 3))):
            noise = np.random.default_rng(number).integers(0, 256, size, dtype=np.uint8)
            path = tmp_path / "faces" / "train" / folder / f"{number}_0000.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_png(noise))
    config = PrepareDatasetConfig(directory=str(tmp_path / "faces"), raw=True, color=True)
    prepare_dataset(config)
    rough = AugmentConfig(enabled=True, crop=1, noise=1, rescale=0, blur=1, cutout=1)
    data = faces(dataset_folder(config, "train"), AugmentConfig())
    degraded = faces(dataset_folder(config, "train"), rough)
    whole = {f"{n}": read_image(tmp_path / f"faces/train/fake/{n}_0000.png") for n in range(2)}
    for index in range(len(data)):
        record = data.record(index)
        frame = Frame(0, 0.0, whole[record.key.video_id])
        judged = whole_picture(frame, "v", record.crop_scale)
        assert np.array_equal(record.image, judged.rgb) and judged.rgb.shape == (80, 80, 3)
        assert degraded[index][0].shape == (3, 64, 64)


def test_couples_of_even_people():
    labels, who = np.array([0, 0] + [1] * 100), ["often", "once", *["often"] * 96, *["once"] * 4]
    often = []
    for even in (0.0, 0.5, 1.0):
        drawn = np.concatenate(
            [
                draw_epoch(labels, who, np.arange(2), 0.0, "couples", 2, 0, epoch, True, even)
                for epoch in range(400)
            ]
        ).reshape(-1, 2)
        assert all(who[real] == who[fake] for real, fake in drawn)
        often.append(sum(who[fake] == "often" for _, fake in drawn) / len(drawn))
    assert np.allclose(often, [0.96, 96**0.5 / (96**0.5 + 2), 0.5], atol=0.06)
    whole = draw_epoch(labels, who, np.arange(2), 0.0, "couples", 200, 0, 0, True, 1.0)
    fakes = whole[1::2].tolist()
    assert sorted(fakes) == list(range(2, 102))  # none twice before all
    rare = [fakes.index(fake) for fake in (3, 98, 99, 100, 101)]
    assert max(rare) > 50  # drawn first, being rare, they do not come first


def test_people_without_a_manipulated_face_come_by_themselves():
    labels = np.array([0, 1, 0, 1, 0, 0, 0])
    who = ["a", "a", "b", "b", "c", "c", "d"]
    order = draw_epoch(labels, who, np.arange(0), 0.0, "couples", 40, 0, 0, True, 0.0, 0.5)
    numbers = np.bincount(order, minlength=7)
    assert numbers[:4].tolist() == [numbers[1], numbers[1], numbers[3], numbers[3]]
    assert (numbers[:4].sum(), numbers[4] + numbers[5], numbers[6]) == (20, 10, 10)
    couples = [(int(a), int(b)) for a, b in order.reshape(-1, 2) if labels[b]]
    assert len(couples) == 10 and all(who[a] == who[b] for a, b in couples)
    none = draw_epoch(labels, who, np.arange(0), 0.0, "couples", 40, 0, 0)
    assert set(none.tolist()) == {0, 1, 2, 3}


def test_unpaired_real_faces_that_are_not_there_are_refused(with_landmarks):
    data = faces(with_landmarks[0], AugmentConfig(), share=0.5)
    config = TrainConfig(balance="couples", unpaired_real=0.6)
    with pytest.raises(SettingError, match="more than 1 together"):
        EpochDraw(data, config, BlendConfig(share=0.5))
    data.people = lambda: [("one", True)] * len(data)
    with pytest.raises(DataError, match="of whom none is manipulated, and there are none"):
        EpochDraw(data, config, BlendConfig(share=0.4))
    with pytest.raises(SettingError, match="leaves no real face out"):
        TrainConfig(unpaired_real=0.1)


def test_float_list_sets_of_other_classes_do_not_join(with_landmarks):
    """Their records say a number alone: 1 of (original, B) would become A."""
    three = replace(open_shards(with_landmarks[0]), class_names=("original", "A", "B"))
    two = replace(three, class_names=("original", "B"), is_float_list=True)
    with pytest.raises(DataError, match="know them by number alone"):
        join_shards([three, two])


def test_only_blends_take_no_real_fake():
    kinds = draw(1.0) // 40
    assert sorted(set(kinds.tolist())) == [1, 2]


def test_what_is_drawn_twice_is_degraded_anew(with_landmarks):
    assert count_repeats(np.array([3, 1, 3, 3, 1, 0])).tolist() == [0, 0, 1, 2, 1, 0]
    data = faces(with_landmarks[0], AugmentConfig(enabled=True), share=1.0)
    config = TrainConfig(train_dataset="x", epoch_samples=4 * len(data))
    order = EpochDraw(data, config, BlendConfig(share=1.0))(0)
    assert len(set(order.tolist())) == len(order)
    blocks, records = np.divmod(order, len(data))
    twice = [int(i) for i in order[records == records[0]] if (i // len(data)) % 3 == 2]
    first, second = (data[index] for index in twice[:2])
    assert first[2] == second[2] and not torch.equal(first[0], second[0])
    assert (blocks.reshape(-1, 2) // 3 == blocks.reshape(-1, 2)[:, :1] // 3).all()  # pairs stay


def test_blends_are_made_of_all_people_equally_often():
    who = ["often"] * 9 + ["once"]
    order = draw_epoch(np.zeros(10, int), who, np.arange(10), 1.0, "none", 40, 0, 0)
    made = np.bincount(order[1::2] % 10, minlength=10)
    assert made[9] == made[:9].sum() == 10
    order = draw_epoch(np.zeros(10, int), who, np.arange(10), 1.0, "none", 40, 0, 0, False)
    assert np.bincount(order[1::2] % 10, minlength=10).tolist() == [2] * 10


def test_balances_that_blends_would_upset_are_refused(with_landmarks):
    data = faces(with_landmarks[0], AugmentConfig(), share=0.5)
    with pytest.raises(SettingError, match=r"train\.balance = loss counts records"):
        EpochDraw(data, TrainConfig(balance="loss"), BlendConfig(share=0.5))
    data.labels = lambda: np.zeros(len(data), int)
    with pytest.raises(DataError, match="couples needs manipulated faces"):
        EpochDraw(data, TrainConfig(balance="couples"), BlendConfig(share=0.5))


def test_records_keep_the_landmarks_of_real_crops(with_landmarks):
    data = faces(with_landmarks[0], AugmentConfig())
    found = [(data.record(i).label, data.record(i).landmarks_xy) for i in range(len(data))]
    assert all((points is not None) == (label == 0) for label, points in found)
    points = next(points for _, points in found if points is not None)
    assert points.shape == (468, 2) and points.dtype == np.float32
    assert 0.2 < points.mean() < 0.8  # in units of the crop's side
    assert [has for _, has in data.people()] == [label == 0 for label, _ in found]


def test_a_pair_differs_inside_the_face_and_nowhere_else(with_landmarks):
    data = faces(with_landmarks[0], AugmentConfig(), share=1.0)
    number = int(np.flatnonzero(data.labels() == 0)[0])
    real, fake = data[len(data) + number], data[2 * len(data) + number]
    assert (real[1], fake[1]) == (0, 1)
    change = (real[0] - fake[0]).abs().amax(0)
    assert change.max() > 2 and change[:2].max() < 1 and change[:, :2].max() < 1


def with_donors(path, share=1.0):
    shards = open_shards(path)
    classes = Classes(
        ("original", "fake"), {n: int(i > 0) for i, n in enumerate(shards.class_names)}
    )
    blend = BlendConfig(share=share, other_person=1.0)
    return TrainingFaces(shards, SPEC, classes, AugmentConfig(enabled=True), blend, 0)


def test_a_blend_is_made_with_a_real_face_of_another_person(with_landmarks, monkeypatch):
    data = with_donors(with_landmarks[0])
    real = np.flatnonzero(data.labels() == 0).tolist()
    donors, reads, read = [], [], data.record

    def seen(rgb, points, config, rng, donor, repaint):
        donors.append(donor)
        return blend_face(rgb, points, config, rng, donor, repaint)

    monkeypatch.setattr(training_faces, "blend_face", seen)
    monkeypatch.setattr(data, "record", lambda number: reads.append(number) or read(number))
    for number in real:
        people = set()
        for epoch in range(3):
            data.epoch = epoch
            reads.clear()
            pair = data[len(data) + number], data[2 * len(data) + number]
            assert pair[0][2] == pair[1][2] and reads.count(number) == 1  # read once for both
            donor = donors.pop()
            assert not donors  # one blend for both sides
            lent = [each for each in real if np.array_equal(read(each).image, donor.rgb)]
            people |= {read(each).person for each in lent}
            assert lent and np.array_equal(
                donor.landmarks_xy_px, read(lent[0]).landmarks_xy * donor.rgb.shape[0]
            )
        assert people and read(number).person not in people


def test_manipulated_faces_lend_nothing(with_landmarks, monkeypatch):
    monkeypatch.setattr(TrainingFaces, "labels", lambda self: np.ones(len(self), np.int64))
    with pytest.raises(DataError, match="0 crop"):
        with_donors(with_landmarks[0])


def test_who_lends_does_not_hang_on_the_loaders_processes(with_landmarks):
    data = with_donors(with_landmarks[0])
    order = [2 * len(data) + int(i) for i in np.flatnonzero(data.labels() == 0)]
    one, two = (
        torch.cat([b.image for b in iter_batches(data, [[[i]] for i in order], 0, workers)])
        for workers in (0, 2)
    )
    assert torch.equal(one, two)


def test_without_landmarks_or_people_nobody_lends(train_set, with_landmarks, monkeypatch):
    with pytest.raises(DataError, match=r"blend\.other_person .* --landmarks"):
        with_donors(train_set)
    with_donors(train_set, share=0.0)  # nothing reads it then
    people = TrainingFaces.people
    monkeypatch.setattr(TrainingFaces, "people", lambda self: [("", k) for _, k in people(self)])
    with pytest.raises(DataError, match="two known people"):
        with_donors(with_landmarks[0])


def test_the_same_seed_and_epoch_degrade_alike_on_any_number_of_workers(with_landmarks):
    data = faces(with_landmarks[0], AugmentConfig(enabled=True), share=0.5)
    n = len(data)
    order = [0, n + int(np.flatnonzero(data.labels() == 0)[0]), 1, 2]
    one, two = (
        torch.cat([b.image for b in iter_batches(data, [[[i]] for i in order], 0, workers)])
        for workers in (0, 2)
    )
    assert torch.equal(one, two)
    data.epoch = 1
    other = torch.cat([b.image for b in iter_batches(data, [[[i]] for i in order], 0, 0)])
    assert not torch.equal(one, other)


def given(sets, output, **train_changes):
    return load_settings(None, [], {
        "network": {"name": "cnn"},
        "augment": {"enabled": True},
        "blend": {"share": 0.5},
        "train": {
            "train_dataset": str(sets[0]), "val_dataset": str(sets[1]), "output": str(output),
            "image_size": (64, 64, 3), "epochs": 2, "batch_size": 8, "epoch_samples": 16,
            "device": "cpu", "balance": "couples", "schedule": "cosine", "warmup_steps": 2,
            "weight_average": 0.9, "label_smoothing": 0.1, **train_changes,
        },
    })  # fmt: skip


def test_a_whole_training_with_everything_on_repeats_itself(with_landmarks, tmp_path):
    ours = train(given(with_landmarks, tmp_path / "a")).rows
    again = train(given(with_landmarks, tmp_path / "b")).rows
    assert [row.train_loss for row in ours] == [row.train_loss for row in again]
    assert ours[-1].learning_rate < ours[0].learning_rate  # the cosine falls


def test_blends_need_landmarks(train_set, val_set, tmp_path):
    with pytest.raises(DataError, match="--landmarks"):
        train(given((train_set, val_set), tmp_path / "run"))


def test_real_faces_alone_will_do_for_blends(with_landmarks, noise_classes, tmp_path):
    root = tmp_path / "reals" / "train" / "original"
    for number in range(4):
        save_noise(root / f"v{number}_0000.png", seed=number)
    config = PrepareDatasetConfig(
        directory=str(tmp_path / "reals"), raw=True, color=True, output=str(tmp_path)
    )
    prepare_dataset(config)
    reals = dataset_folder(config, "train")
    settings = given((reals, with_landmarks[1]), tmp_path / "run")
    assert setup(settings).classes.names == ("original", "manipulated")
    no_blends = replace(settings, blend=BlendConfig())
    with pytest.raises(DataError, match="one class only"):
        setup(no_blends)


def test_blends_alone_read_no_manipulated_face(with_landmarks, tmp_path):
    settings = given(with_landmarks, tmp_path / "run", balance="none")
    job = setup(replace(settings, blend=BlendConfig(share=1.0)))
    assert job.class_counts == (open_shards(with_landmarks[0]).counts[0], 0)
    data, draw = open_training_faces(job)
    assert len(data) == job.class_counts[0] and set(data.labels().tolist()) == {0}
    assert {data[int(i)][1] for i in draw(0)} == {0, 1}
    assert count_classes(job.val_set, job.classes)[1] > 0


def test_joined_sets_are_read_one_behind_the_other(with_landmarks, train_set):
    one, two = open_shards(with_landmarks[0]), open_shards(train_set)
    joined = join_shards([one, two])
    assert sum(joined.counts) == sum(one.counts) + sum(two.counts)
    classes = Classes(joined.class_names, {n: i for i, n in enumerate(joined.class_names)})
    data = TrainingFaces(joined, SPEC, classes, AugmentConfig(), BlendConfig(), 0)
    assert [has for _, has in data.people()][sum(one.counts) :] == [False] * sum(two.counts)
    assert joined.fingerprint not in (one.fingerprint, two.fingerprint)
    with pytest.raises(DataError, match="crop_scale"):
        join_shards([one, replace(two, crop_scale=1.05)])
