"""Targets, a teacher, and the average of the weights."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from mdcsd import learner, training
from mdcsd.averaging import average_checkpoints
from mdcsd.checkpoint import load_checkpoint, save_checkpoint
from mdcsd.distributed import Rank
from mdcsd.errors import DataError, SettingError
from mdcsd.inference import sample_losses
from mdcsd.network import build_network
from mdcsd.runs import RunFolder
from mdcsd.training import train
from mdcsd.training_loss import Teacher, distilled_losses, mix, smoothed_losses
from mdcsd.training_setup import setup
from test_training import settings


def test_smoothed_targets_by_hand():
    logits, label = torch.tensor([[0.0], [2.0]]), torch.tensor([1, 1])
    assert torch.equal(smoothed_losses(logits, label, 0.0), sample_losses(logits, label))
    sure = -0.95 * math.log(1 / (1 + math.exp(-2))) - 0.05 * math.log(1 - 1 / (1 + math.exp(-2)))
    assert smoothed_losses(logits, label, 0.1).tolist() == pytest.approx([math.log(2), sure])
    three = smoothed_losses(torch.zeros(1, 3), torch.tensor([2]), 0.3)
    assert float(three) == pytest.approx(math.log(3))


def test_the_teachers_share_by_hand():
    logits, losses = torch.zeros(2, 1), torch.tensor([1.0, 3.0])
    mixed = distilled_losses(losses, logits, torch.tensor([0.2, 0.9]), 0.25)
    expected = [0.75 * 1 + 0.25 * math.log(2), 0.75 * 3 + 0.25 * math.log(2)]
    assert mixed.tolist() == pytest.approx(expected)
    heavy = distilled_losses(
        losses, logits, torch.tensor([0.2, 0.9]), 0.25, torch.tensor([1.0, 4.0])
    )
    assert heavy.tolist() == pytest.approx([expected[0], expected[1] + 0.75 * math.log(2)])


def test_pictures_and_losses_are_mixed_by_one_share():
    torch.manual_seed(0)
    image, label = torch.arange(8.0)[:, None, None, None], torch.arange(8) % 2
    weights = torch.tensor([1.0, 3.0])
    logits = torch.linspace(-2, 2, 8)[:, None]
    mixed = mix(image, label, 1.0)
    assert 0 < mixed.share < 1
    order = ((mixed.image - mixed.share * image) / (1 - mixed.share)).flatten().round().long()
    assert sorted(order.tolist()) == list(range(8)) and torch.equal(mixed.other, label[order])
    own, other = (smoothed_losses(logits, each, 0.1) for each in (label, label[order]))
    rest = 1 - mixed.share
    torch.testing.assert_close(mixed.losses(logits, 0.1), mixed.share * own + rest * other)
    weighted = mixed.share * weights[label] * own + rest * weights[label[order]] * other
    torch.testing.assert_close(mixed.losses(logits, 0.1, weights), weighted)
    expected = mixed.share * weights[label] + rest * weights[label[order]]
    torch.testing.assert_close(mixed.weights(weights), expected)
    torch.testing.assert_close(mixed.alike(image), mixed.image)
    torch.testing.assert_close(mixed.alike(1 - image), 1 - mixed.image)


def test_no_mixup_leaves_a_batch_alone():
    image, label = torch.rand(4, 3, 2, 2), torch.tensor([0, 1, 1, 0])
    mixed = mix(image, label, 0.0)
    assert mixed.image is image and torch.equal(mixed.label, label)
    assert torch.equal(mixed.alike(1 - image), 1 - image)
    weights = torch.tensor([1.0, 2.0])
    logits = torch.linspace(-1, 1, 4)[:, None]
    assert torch.equal(mixed.losses(logits, 0.1), smoothed_losses(logits, label, 0.1))
    assert torch.equal(mixed.weights(weights), weights[label])


def test_a_pupil_learns_from_a_teacher_that_sees_less(train_set, val_set, tmp_path):
    small = {"model": "cnn", "train__epochs": 1, "train__image_size": (48, 48, 3)}
    one = {"model": "cnn", "train__epochs": 1}
    teacher = train(settings(train_set, val_set, tmp_path / "t", **small)).best
    alone = train(settings(train_set, val_set, tmp_path / "a", **one))
    taught = train(settings(train_set, val_set, tmp_path / "p", train__teacher=str(teacher), **one))
    assert taught.rows[0].train_loss != alone.rows[0].train_loss
    known = load_checkpoint(taught.best).provenance
    assert known["teacher"] == load_checkpoint(teacher).checkpoint_id
    assert known["settings"]["train"]["teacher_share"] == 0.5
    other = load_checkpoint(alone.best).provenance
    assert other["teacher"] is None and "teacher_share" not in other["settings"]["train"]
    with pytest.raises(DataError, match=r"looks at 64 px.*Give --image_size 64"):
        train(settings(train_set, val_set, tmp_path / "n", train__teacher=str(alone.best), **small))


def test_a_teacher_sees_faces_before_they_lose_quality(train_set, val_set, tmp_path, monkeypatch):
    one = {"model": "cnn", "train__epochs": 1, "augment__enabled": True, "augment__jpeg": 1.0,
           "augment__jpeg_highest": 40}  # fmt: skip
    teacher = train(settings(train_set, val_set, tmp_path / "t", **one)).best
    score, step, seen = Teacher.score, training.take_step, []

    def watched_score(self, image):
        seen[-1].append(image)
        return score(self, image)

    def watched_step(job, rank, learning, batch, *rest):
        seen.append([batch.image, batch.intact])
        return step(job, rank, learning, batch, *rest)

    monkeypatch.setattr(Teacher, "score", watched_score)
    monkeypatch.setattr(training, "take_step", watched_step)
    losses = []
    for sees in ("degraded", "intact"):
        seen.clear()
        run = settings(train_set, val_set, tmp_path / sees, train__teacher=str(teacher),
                       train__teacher_sees=sees, **one)  # fmt: skip
        trained = train(run)
        losses.append(trained.rows[0].train_loss)
        known = load_checkpoint(trained.best).provenance["settings"]["train"]
        assert known["teacher_sees"] == sees and seen
        for pictures, intact, taught in seen:
            assert torch.equal(taught, pictures if sees == "degraded" else intact)
            assert sees == "intact" or intact is None
            assert intact is None or (intact - pictures).abs().mean() > 1
    assert losses[0] != losses[1]


def test_another_teacher_does_not_go_on_with_a_run(train_set, val_set, tmp_path):
    one = {"model": "cnn", "train__epochs": 1}
    teacher = train(settings(train_set, val_set, tmp_path / "t", **one)).best
    train(settings(train_set, val_set, tmp_path / "p", train__teacher=str(teacher), **one))
    known = load_checkpoint(teacher)
    softer = replace(known.calibration, temperature=known.calibration.temperature * 2)
    save_checkpoint(replace(known, calibration=softer), teacher)
    again = settings(train_set, val_set, tmp_path / "p", train__teacher=str(teacher),
                     train__resume=str(tmp_path / "p"), **{**one, "train__epochs": 2})  # fmt: skip
    with pytest.raises(SettingError, match=r"another blend.autoencoder_file or train.teacher"):
        train(again)


def test_there_is_a_teacher_where_one_is_to_see_intact_faces(train_set, val_set, tmp_path):
    with pytest.raises(SettingError, match="there is no teacher"):
        train(settings(train_set, val_set, tmp_path / "p", train__teacher_sees="intact"))


def test_coefficients_are_not_resized_for_a_teacher(train_set, val_set, tmp_path):
    run = settings(train_set, val_set, tmp_path / "t", model="cnn", train__epochs=1)
    teacher = train(run).best
    known = load_checkpoint(teacher)
    save_checkpoint(replace(known, preprocess=replace(known.preprocess, representation="dct")),
                    teacher)  # fmt: skip
    job = setup(run)
    larger = replace(job, spec=replace(job.spec, representation="dct", image_size_px=128))
    with pytest.raises(DataError, match="cannot be resized for it"):
        Teacher(teacher, larger, Rank(0, 1, torch.device("cpu")))


def test_a_teacher_of_other_classes_is_refused(train_set, val_set, tmp_path, monkeypatch):
    teacher = train(settings(train_set, val_set, tmp_path / "t", model="cnn", train__epochs=1)).best
    from dataclasses import replace

    from mdcsd import training_loss

    other = load_checkpoint(teacher)
    monkeypatch.setattr(
        training_loss, "load_checkpoint",
        lambda _: replace(other, preprocess=replace(other.preprocess, crop_scale=1.05)),
    )  # fmt: skip
    with pytest.raises(DataError, match=r"1\.05.*crop scale"):
        train(settings(train_set, val_set, tmp_path / "p", model="cnn",
                       train__teacher=str(teacher)))  # fmt: skip


def test_a_run_can_start_from_a_checkpoint(train_set, val_set, tmp_path):
    first = train(settings(train_set, val_set, tmp_path / "a", model="cnn", train__epochs=1)).best
    second = train(settings(train_set, val_set, tmp_path / "b", model="cnn", train__epochs=1,
                            train__start_from=str(first), train__learning_rate=1e-12))  # fmt: skip
    before, after = load_checkpoint(first), load_checkpoint(second.best)
    for name, tensor in before.state_dict.items():
        assert torch.allclose(after.state_dict[name], tensor, atol=1e-6)
    assert after.provenance["started_from"] == before.checkpoint_id
    (stage,) = after.provenance["stages"]
    assert stage["checkpoint_id"] == before.checkpoint_id
    assert stage["hours"] == before.provenance["hours"] and stage["seed"] == 0
    mean = average_checkpoints(first, second.best, 0.5, tmp_path / "mean.safetensors")
    third = train(settings(train_set, val_set, tmp_path / "e", model="cnn", train__epochs=1,
                           train__start_from=str(tmp_path / "mean.safetensors")))  # fmt: skip
    *_, stage = load_checkpoint(third.best).provenance["stages"]
    assert stage["checkpoint_id"] == mean.checkpoint_id
    assert stage["averaged_from"] == [before.checkpoint_id, after.checkpoint_id]
    never_saved = RunFolder(tmp_path / "d")
    never_saved.begin(settings(train_set, val_set, never_saved.path, model="cnn", train__epochs=1,
                               train__start_from=str(first)))  # fmt: skip
    resumed = train(never_saved.resumed_settings({"train": {"resume": str(never_saved.path)}}))
    assert load_checkpoint(resumed.best).provenance["stages"][0]["checkpoint_id"] == (
        before.checkpoint_id
    )
    first.unlink()  # what a resumed run does not need
    run = RunFolder(tmp_path / "b")
    more = train(run.resumed_settings({"train": {"resume": str(run.path), "epochs": 2}}))
    assert load_checkpoint(run.last).provenance["stages"] == after.provenance["stages"]
    assert len(more.rows) == 2
    first = second.best
    with pytest.raises(DataError, match=r"network.name is cnn, the settings say mdcsd"):
        train(settings(train_set, val_set, tmp_path / "c", train__start_from=str(first)))
    known = load_checkpoint(first)
    start = settings(train_set, val_set, tmp_path / "c", model="cnn", train__start_from=str(first))
    for change, told in (
        ({"preprocess": replace(known.preprocess, representation="dct")}, "looks at dct of 3"),
        ({"class_names": ("original", "A", "B")}, "tells original, A, B apart, this training"),
    ):
        save_checkpoint(replace(known, **change), first)
        with pytest.raises(DataError, match=told):
            setup(start)


def test_a_cosine_is_of_one_length(train_set, val_set, tmp_path):
    run = tmp_path / "run"
    train(settings(train_set, val_set, run, model="cnn", train__epochs=1, train__schedule="cosine"))
    with pytest.raises(SettingError, match=r"train.epochs cannot change"):
        RunFolder(run).resumed_settings({"train": {"resume": str(run), "epochs": 2}})


def test_the_average_follows_the_weights(train_set, val_set, tmp_path):
    from mdcsd.distributed import Rank
    from mdcsd.loader import FaceDataset
    from mdcsd.training_setup import setup

    job = setup(settings(train_set, val_set, tmp_path / "r", model="cnn",
                         train__weight_average=0.9))  # fmt: skip
    rank = Rank(0, 1, torch.device("cpu"))
    learning = learner.start(job, rank, FaceDataset(job.train_set, job.spec, job.classes), None)
    assert learning.kept is learning.average
    name = next(iter(learning.network.state_dict()))
    before = learning.network.state_dict()[name].clone()
    with torch.no_grad():
        learning.network.state_dict()[name].add_(1.0)
    learning.follow(1, 0.9)  # the first step: decay 2 / 11
    moved = learning.average.state_dict()[name] - before
    assert torch.allclose(moved, torch.full_like(moved, 9 / 11))
    learning.follow(1000, 0.9)
    moved = learning.average.state_dict()[name] - before
    assert torch.allclose(moved, torch.full_like(moved, 9 / 11 + 0.1 * 2 / 11))


def test_frozen_stages_keep_their_weights_but_follow_the_data(train_set, val_set, tmp_path):
    from mdcsd.network import freeze_stages
    from mdcsd.training_setup import setup

    job = setup(settings(train_set, val_set, tmp_path / "r"))
    network = build_network(job.network, job.spec, 2)
    from dataclasses import replace

    freeze_stages(network, 1, replace(job.network, pretrained="rgb"))
    learns = {name for name, weight in network.named_parameters() if weight.requires_grad}
    assert not any(name.startswith("rgb.stages.0.") for name in learns)
    assert any(name.startswith("rgb.stages.1.") for name in learns)
    assert any(name.startswith("frequency.stages.0.") for name in learns)
    alone = replace(job.network, pretrained="rgb", branches="frequency")
    of_frequencies = build_network(alone, job.spec, 2)
    freeze_stages(of_frequencies, 1, alone)  # nothing of it began from ImageNet
    assert all(weight.requires_grad for weight in of_frequencies.parameters())
    before = network.rgb.stages[0][1].running_mean.clone()
    network.train()
    network(torch.rand(4, 3, 64, 64) * 255)
    assert not torch.equal(network.rgb.stages[0][1].running_mean, before)
