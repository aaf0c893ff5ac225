"""Training: it learns, repeats itself, resumes, and refuses what does not fit."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import save_noise
from mdcsd import inference, learner, runs, spectrum_fit, training
from mdcsd.checkpoint import load_checkpoint
from mdcsd.config import NetworkConfig, PrepareDatasetConfig
from mdcsd.distributed import Rank
from mdcsd.errors import DataError, InputError, SettingError
from mdcsd.frequency import log_dct_bands
from mdcsd.inference import Measured, sample_losses
from mdcsd.loader import FaceDataset, cut_batches, iter_batches
from mdcsd.network import build_network
from mdcsd.prepare_dataset import prepare_dataset
from mdcsd.preprocess import PreprocessSpec
from mdcsd.recipe import load_settings
from mdcsd.runs import RunFolder, environment
from mdcsd.spectrum_fit import fit_standardise
from mdcsd.split_writer import dataset_folder
from mdcsd.training import Hooks, train
from mdcsd.training_loss import class_weights, regularisation
from mdcsd.training_setup import setup


def settings(train_set: Path, val_set: Path, output: Path, model="mdcsd", **changes):
    given = {
        "network": {"name": model, "backbone": "efficientnet_lite0"},
        "train": {
            "train_dataset": str(train_set), "val_dataset": str(val_set), "output": str(output),
            "image_size": (64, 64, 3), "epochs": 2, "batch_size": 16, "learning_rate": 1e-3,
            "device": "cpu",
        },
    }  # fmt: skip
    for name, value in changes.items():
        section, key = name.split("__")
        given.setdefault(section, {})[key] = value
    return load_settings(None, [], given)


def curve(rows):
    return [(row.learning_rate, row.train_loss, row.val_loss, row.val_auc) for row in rows]


@pytest.fixture(scope="module")
def uninterrupted(train_set, val_set, tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / "whole"
    return train(settings(train_set, val_set, output, train__epochs=3)), output


def test_the_same_seed_gives_the_same_curve_and_another_one_another(
    uninterrupted, train_set, val_set, tmp_path
):
    again = train(settings(train_set, val_set, tmp_path / "again", train__epochs=3))
    assert curve(again.rows) == curve(uninterrupted[0].rows)
    other = train(settings(train_set, val_set, tmp_path / "other", train__epochs=1, train__seed=1))
    assert curve(other.rows) != curve(uninterrupted[0].rows)[:1]


def test_a_run_interrupted_in_mid_epoch_resumes_with_the_same_numbers(
    uninterrupted, train_set, val_set, tmp_path
):
    def interrupt(epoch: int, step: int, _: int) -> None:
        if (epoch, step) == (2, 3):
            raise KeyboardInterrupt

    output = tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        train(settings(train_set, val_set, output, train__epochs=3), Hooks(on_step=interrupt))
    assert (output / "last.safetensors").exists()  # the last whole epoch is kept
    resumed = train(RunFolder(output).resumed_settings({"train": {"resume": str(output)}}))
    assert curve(resumed.rows) == curve(uninterrupted[0].rows)
    ours, theirs = load_checkpoint(resumed.best), load_checkpoint(uninterrupted[0].best)
    assert ours.state_dict.keys() == theirs.state_dict.keys()
    assert all(torch.equal(ours.state_dict[k], theirs.state_dict[k]) for k in ours.state_dict)
    assert torch.equal(ours.real_log_dct_mean, theirs.real_log_dct_mean)


def test_a_run_goes_on_from_a_save_in_mid_epoch_with_the_same_numbers(train_set, val_set, tmp_path):
    """Steps that were saved are not taken again, and nothing tells that there was a cut."""
    steps: list[tuple[int, int]] = []

    def interrupt(epoch: int, step: int, _: int) -> None:
        if (epoch, step) == (2, 6):
            raise KeyboardInterrupt

    changes = {"train__epochs": 2, "train__save_steps": 2, "train__weight_average": 0.9,
               "train__sam_radius": 0.05}  # fmt: skip
    whole = train(settings(train_set, val_set, tmp_path / "whole", **changes))
    output = tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        train(settings(train_set, val_set, output, **changes), Hooks(on_step=interrupt))
    hooks = Hooks(on_step=lambda epoch, step, _: steps.append((epoch, step)))
    resumed = train(RunFolder(output).resumed_settings({"train": {"resume": str(output)}}), hooks)
    assert steps == [(2, 5), (2, 6), (2, 7), (2, 8)]
    assert curve(resumed.rows) == curve(whole.rows)
    ours, theirs = load_checkpoint(resumed.best), load_checkpoint(whole.best)
    assert all(torch.equal(ours.state_dict[k], theirs.state_dict[k]) for k in ours.state_dict)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a compiler")
def test_a_compiled_network_learns_what_it_learns_uncompiled(train_set, val_set, tmp_path):
    plain, compiled = (
        train(settings(train_set, val_set, tmp_path / str(compiles), model="cnn",
                       train__epochs=1, train__compile=compiles))
        for compiles in (False, True)
    )  # fmt: skip
    assert compiled.rows[0].train_loss == pytest.approx(plain.rows[0].train_loss, rel=1e-4)
    assert load_checkpoint(compiled.best).state_dict.keys() == (
        load_checkpoint(plain.best).state_dict.keys()
    )


def test_bfloat16_learns_what_float32_learns_where_the_processor_has_it(
    train_set, val_set, tmp_path, monkeypatch
):
    def losses(name: str, has_it: bool, precision: str) -> tuple[float, bool]:
        monkeypatch.setattr(inference, "has_fast_bfloat16", lambda: has_it)
        seen: list[bool] = []
        monkeypatch.setattr(learner, "hasten_depthwise", lambda network: seen.append(True))
        given = {"train__epochs": 1, "train__precision": precision,
                 "train__learning_rate": 1e-4}  # fmt: skip
        row = train(settings(train_set, val_set, tmp_path / name, **given)).rows[0]
        return row.train_loss, bool(seen)

    wide, rough = losses("a", False, "auto"), losses("b", True, "auto")
    assert losses("c", True, "float32") == wide
    assert not wide[1] and rough[1]
    assert rough[0] != wide[0] and rough[0] == pytest.approx(wide[0], rel=0.05)


def test_the_mean_spectrum_is_of_real_training_faces_alone(uninterrupted, train_set, monkeypatch):
    checkpoint = load_checkpoint(uninterrupted[0].best)
    job = setup(RunFolder(uninterrupted[1]).resumed_settings({}))
    data = FaceDataset(job.train_set, job.spec, job.classes)
    real = torch.stack([data[int(i)][0] for i in np.flatnonzero(data.labels() == 0)])
    expected = log_dct_bands(real, "raw").mean(0)
    assert torch.allclose(checkpoint.real_log_dct_mean, expected, atol=1e-4)
    monkeypatch.setattr(spectrum_fit, "_REAL_SAMPLES", 5)
    few = spectrum_fit.fit_real_log_dct_mean(data, job.config, job.spec)
    assert few.shape == (3, 64, 64) and not torch.allclose(few, expected, atol=1e-4)


def test_resuming_cannot_change_what_the_numbers_depend_on(uninterrupted):
    folder = RunFolder(uninterrupted[1])
    longer = folder.resumed_settings({"train": {"epochs": 9, "resume": str(folder.path)}})
    assert longer.train.epochs == 9 and longer.train.learning_rate == 1e-3
    with pytest.raises(SettingError, match=r"train\.balance cannot change"):
        folder.resumed_settings({"train": {"balance": "loss"}})
    with pytest.raises(SettingError, match=r"train\.batch_size cannot change"):
        folder.resumed_settings({"train": {"batch_size": 8}})
    with pytest.raises(DataError, match="no run to resume"):
        RunFolder(uninterrupted[1] / "nowhere").resumed_settings({})


def test_the_run_folder_tells_everything(uninterrupted):
    result, output = uninterrupted
    stored = json.loads((output / "settings.json").read_text())
    assert stored["train"]["epochs"] == 3 and stored["network"]["stitch"] == "scalar"
    assert "train.epochs" in stored["given"] and "train.l1" not in stored["given"]
    told = json.loads((output / "environment.json").read_text())
    assert told["packages"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    with open(output / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val_loss"]) for row in rows] == [row.val_loss for row in result.rows]
    assert list(output.glob("events.out.tfevents.*"))
    best = load_checkpoint(output / "best.safetensors")
    losses = [row.val_loss for row in result.rows]
    assert best.provenance["epoch"]["val_loss"] == min(losses)
    assert best.provenance["train_counts"] == {"original": 64, "Deepfakes": 64}
    assert "2 real, 2 manipulated videos" in best.calibration.fitted_on


def test_tensorboard_gets_a_scalar_an_epoch(uninterrupted):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(uninterrupted[1]))
    events.Reload()
    assert [e.step for e in events.Scalars("val_loss")] == [1, 2, 3]


def test_a_second_run_does_not_overwrite_the_first(uninterrupted, train_set, val_set):
    with pytest.raises(SettingError, match="holds a run already"):
        train(settings(train_set, val_set, uninterrupted[1]))


def test_the_transform_is_standardised_on_training_data(
    uninterrupted, train_set, val_set, tmp_path
):
    state = load_checkpoint(uninterrupted[0].best).state_dict
    job = setup(settings(train_set, val_set, tmp_path))
    data = FaceDataset(job.train_set, job.spec, job.classes)
    network = build_network(job.network, job.spec, 2)
    images = torch.stack([data[i][0] for i in range(len(data))])
    values = network.unscaled(images).double()
    mean, variance = values.mean((0, 2, 3)), values.var((0, 2, 3), correction=0)
    torch.testing.assert_close(state["standardise.mean"].double(), mean, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        state["standardise.variance"].double(), variance, rtol=1e-4, atol=1e-4
    )
    n_used = fit_standardise(network, data, job.config, Rank(0, 1, torch.device("cpu")))
    assert n_used == len(data)


@pytest.mark.parametrize("name", ["mdcsd", "cnn"])
def test_one_batch_is_learned_by_heart(name, train_set, val_set, tmp_path):
    """Cross-entropy below .01 with dropout and regularisation off."""
    job = setup(settings(train_set, val_set, tmp_path, model=name, network__dropout=0.0))
    data = FaceDataset(job.train_set, job.spec, job.classes)
    (batch,) = iter_batches(data, cut_batches(range(16), 16, 1), 0, workers=0)
    assert 0 < batch.label.sum() < 16
    torch.manual_seed(0)
    network = build_network(job.network, job.spec, 2).train()
    fit_standardise(network, data, job.config, Rank(0, 1, torch.device("cpu")))
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    for _ in range(150):
        optimizer.zero_grad()
        loss = sample_losses(network(batch.image), batch.label).mean()
        if loss < 0.01:
            break
        loss.backward()
        optimizer.step()
    assert loss < 0.01


def test_losses_by_hand():
    binary = sample_losses(torch.tensor([[0.0], [2.0]]), torch.tensor([1, 0]))
    np.testing.assert_allclose(binary, [np.log(2), np.log(1 + np.exp(2.0))], rtol=1e-6)
    many = sample_losses(torch.tensor([[0.0, 0.0, 0.0, 0.0]]), torch.tensor([2]))
    np.testing.assert_allclose(many, [np.log(4)], rtol=1e-6)


def test_regularisation_acts_where_it_should(train_set, val_set, tmp_path):
    cnn = setup(settings(train_set, val_set, tmp_path, model="cnn"))
    assert (cnn.l1, cnn.l2) == (0.01, 0.01)
    network = build_network(cnn.network, cnn.spec, 2)
    kernels = [p for p in network.parameters() if p.ndim > 1]
    assert len(kernels) == 5
    expected = sum(0.01 * k.abs().mean() + 0.01 * k.square().mean() for k in kernels)
    torch.testing.assert_close(regularisation(network, cnn), expected)

    default = setup(settings(train_set, val_set, tmp_path))
    assert (default.l1, default.l2) == (0.0, 0.0)
    given = setup(settings(train_set, val_set, tmp_path, train__l1=0.5))
    assert (given.l1, given.l2) == (0.5, 0.0)
    network = build_network(given.network, given.spec, 2)
    dense = (network.rgb_neck[1], network.frequency_neck[1], network.head[1])
    expected = sum(0.5 * layer.weight.abs().mean() for layer in dense)
    torch.testing.assert_close(regularisation(network, given), expected)


@pytest.mark.parametrize("balance", ["loss", "sampling"])
def test_class_balance(balance, tmp_path):
    """Nine times as many fakes: balanced, the first steps weigh both classes alike."""
    for split in ("train", "val"):
        for number in range(20):
            name = "original" if number % 10 == 0 else "fake"
            save_noise(tmp_path / "set" / split / name / f"{split}{number}_0000.png", number)
    prepare = PrepareDatasetConfig(directory=str(tmp_path / "set"), raw=True, color=True)
    prepare_dataset(prepare)
    folders = [dataset_folder(prepare, split) for split in ("train", "val")]
    job = setup(settings(*folders, tmp_path / "run", model="cnn", train__balance=balance))
    assert job.class_counts == (2, 18)
    weights = class_weights(job)
    if balance == "loss":
        assert weights.tolist() == pytest.approx([5.0, 20 / 36])
        assert (weights * torch.tensor([2, 18])).tolist() == pytest.approx([10.0, 10.0])
    result = train(replace(job.settings, train=replace(job.config, epochs=1)))
    assert len(result.rows) == 1


def test_five_classes_train_and_their_score_is_one_minus_real(tmp_path):
    names = ("original", "Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures")
    for index, name in enumerate(names):
        for number in range(9):
            save_noise(tmp_path / "set" / name / f"{number:03d}_0000.png", 50 * index + number)
    prepare = PrepareDatasetConfig(directory=str(tmp_path / "set"), raw=True, color=True)
    prepared = prepare_dataset(prepare)
    assert list(prepared.labels) == ["original", *sorted(names[1:])]
    folders = [dataset_folder(prepare, split) for split in ("train", "val")]
    many = train(settings(*folders, tmp_path / "many", model="cnn", train__epochs=1))
    checkpoint = load_checkpoint(many.best)
    assert checkpoint.class_names == tuple(prepared.labels)
    assert checkpoint.build()(torch.rand(1, 3, 64, 64)).shape == (1, 5)
    binary = train(
        settings(*folders, tmp_path / "two", model="cnn", train__epochs=1, train__binary=True)
    )
    assert load_checkpoint(binary.best).class_names == ("original", "manipulated")
    with pytest.raises(DataError, match=r"5 classes .* more than --classes 3"):
        train(settings(*folders, tmp_path / "few", model="cnn", train__classes=3))
    assert not (tmp_path / "few").exists()


@pytest.mark.parametrize("flags", [{}, {"log": True}, {"log": True, "color": True}, {"raw": True}])
def test_baselines_train_on_any_representation(noise_classes, tmp_path, flags):
    prepare = PrepareDatasetConfig(directory=str(noise_classes), **flags)
    prepare_dataset(prepare)
    folders = [dataset_folder(prepare, split) for split in ("train", "val")]
    run = settings(*folders, tmp_path / "run", model="cnn", train__epochs=1,
                   train__image_size=(48,))  # fmt: skip
    spec = load_checkpoint(train(run).best).preprocess
    assert spec.representation == prepare.representation
    assert (spec.image_size_px, spec.channels) == (48, 3 if flags.get("color") else 1)
    with pytest.raises(InputError, match=r"prepare_dataset\.py --raw --color"):
        setup(settings(*folders, tmp_path / "no", train__image_size=(48,)))


def test_what_does_not_fit_is_refused(train_set, val_set, noise_classes, tmp_path):
    dct = PrepareDatasetConfig(directory=str(noise_classes), color=True)
    prepare_dataset(dct)
    dct_train = dataset_folder(dct, "train")
    for words, run in (
        ("representation", settings(train_set, dct_train, tmp_path / "x", model="cnn")),
        ("no such data set", settings(tmp_path / "gone", val_set, tmp_path / "x")),
        ("asks for 1", settings(train_set, val_set, tmp_path / "x", train__image_size=(64, 64, 1))),
        ("cannot be enlarged", settings(dct_train, dct_train, tmp_path / "x", model="cnn",
                                        train__image_size=(96,))),
        ("--grayscale needs pixels", settings(dct_train, dct_train, tmp_path / "x", model="cnn",
                                              train__grayscale=True, train__image_size=(64,))),
        ("raw colour", settings(train_set, val_set, tmp_path / "x", train__grayscale=True,
                                train__image_size=(64,))),
    ):  # fmt: skip
        with pytest.raises((DataError, InputError), match=words):
            train(run)
    assert not (tmp_path / "x").exists()


def test_what_is_kept_for_judging_is_not_trained_on(train_set, val_set, test_set, tmp_path):
    for words, run in (
        ("the test split, which must not be trained on",
         settings(test_set, val_set, tmp_path / "x")),
        ("the val split, which must not be trained on",
         settings(train_set, val_set, tmp_path / "x", train__also=(str(val_set),))),
        ("the test split, which must not be used to choose",
         settings(train_set, test_set, tmp_path / "x")),
    ):  # fmt: skip
        with pytest.raises(DataError, match=words):
            setup(run)


def test_one_class_only_is_refused(tmp_path):
    for number in range(12):
        save_noise(tmp_path / "set" / "Deepfakes" / f"v{number}_0000.png", number)
    prepare = PrepareDatasetConfig(directory=str(tmp_path / "set"), raw=True, color=True)
    prepare_dataset(prepare)
    folders = [dataset_folder(prepare, split) for split in ("train", "val")]
    with pytest.raises(DataError, match="one class only"):
        setup(settings(*folders, tmp_path / "run"))


def test_grayscale_turns_colour_into_luma(train_set, val_set, tmp_path):
    run = settings(train_set, val_set, tmp_path / "grey", model="cnn", train__epochs=1,
                   train__grayscale=True, train__image_size=(64,))  # fmt: skip
    assert load_checkpoint(train(run).best).preprocess.channels == 1


def test_dropout_differs_by_epoch_but_not_by_run():
    spec = PreprocessSpec(32, 3, "raw", 1.3)
    network = build_network(NetworkConfig(backbone="efficientnet_lite0"), spec, 2).train()
    image = torch.rand(2, 3, 32, 32) * 255
    rank = Rank(0, 1, torch.device("cpu"))
    outputs = []
    for epoch in (0, 1, 0):
        training._seed_steps(5, epoch, 0, rank)
        outputs.append(network(image).detach().clone())
    assert not torch.equal(outputs[0], outputs[1])
    torch.testing.assert_close(outputs[0], outputs[2])


def test_a_loss_that_is_no_number_stops_with_advice(train_set, val_set, tmp_path, monkeypatch):
    """Losses are read every so many steps, but the step that is told is the first bad one."""
    run = settings(train_set, val_set, tmp_path / "run", model="cnn", train__learning_rate=1e30)
    told = []
    for look_steps, n_done in ((1, 1), (3, 2)):
        monkeypatch.setattr(training, "_LOOK_STEPS", look_steps)
        hooks = Hooks(on_step=lambda epoch, step, _: told.append((epoch, step)))
        told.clear()
        with pytest.raises(DataError, match=r"epoch 1, step 2\. Lower train\.learning_rate"):
            train(run, hooks)
        assert told == [(1, step) for step in range(1, n_done + 1)]
        shutil.rmtree(tmp_path / "run")


def test_a_resumed_optimizer_keeps_its_moments_as_its_parameters_lie(uninterrupted):
    """A file keeps no memory format; a GPU's fused step wants the parameters' own."""
    folder = RunFolder(uninterrupted[1])
    job, state = setup(folder.resumed_settings({})), folder.load_state()
    data = FaceDataset(job.train_set, job.spec, job.classes)
    optimizer = learner.start(job, Rank(0, 1, torch.device("cpu")), data, state).optimizer
    assert any(not parameter.is_contiguous() for parameter in optimizer.state)
    for (parameter, moments), saved in zip(
        optimizer.state.items(), state.optimizer.values(), strict=True
    ):
        for name in ("exp_avg", "exp_avg_sq"):
            assert moments[name].stride() == parameter.stride()
            assert torch.equal(moments[name], saved[name])


def test_a_run_does_not_resume_on_other_data(uninterrupted, noise_classes, tmp_path):
    prepare = PrepareDatasetConfig(
        directory=str(noise_classes), raw=True, color=True, output=str(tmp_path)
    )
    prepare_dataset(prepare)
    folder, noise = RunFolder(uninterrupted[1]), dataset_folder(prepare, "train")
    other = {"train": {"resume": str(folder.path), "train_dataset": str(noise), "epochs": 9}}
    with pytest.raises(SettingError, match="trained on other data"):
        train(folder.resumed_settings(other))


def test_a_run_without_a_finished_epoch_does_not_block_its_folder(train_set, val_set, tmp_path):
    def interrupt(*_: int) -> None:
        raise KeyboardInterrupt

    run = settings(train_set, val_set, tmp_path / "run", model="cnn", train__epochs=1)
    with pytest.raises(KeyboardInterrupt):
        train(run, Hooks(on_step=interrupt))
    assert len(train(run).rows) == 1


def test_crops_that_show_less_in_validation_are_refused_before_training(train_set, tmp_path):
    for name in ("original", "Deepfakes"):
        save_noise(tmp_path / "set" / "val" / name / f"{name}_0000.png", 1)
    prepare = PrepareDatasetConfig(
        directory=str(tmp_path / "set"), raw=True, color=True, crop_scale=1.05
    )
    prepare_dataset(prepare)
    with pytest.raises(DataError, match="show less"):
        setup(settings(train_set, dataset_folder(prepare, "val"), tmp_path / "run"))


def test_every_process_needs_two_samples(train_set, val_set, tmp_path):
    job = setup(settings(train_set, val_set, tmp_path, train__batch_size=4))
    with pytest.raises(DataError, match="--batch_size 6"):
        training._check_processes(job.config, 64, Rank(0, 3, torch.device("cpu")))
    training._check_processes(job.config, 64, Rank(0, 2, torch.device("cpu")))


def test_training_reads_no_test_record(train_set, val_set, tmp_path, monkeypatch):
    """Trap: the checkpoint chosen on the test set. What is never opened cannot choose."""
    from mdcsd import loader
    from mdcsd.recipe import load_settings as load
    from mdcsd.tfrecord import ShardReader

    opened: list[Path] = []
    monkeypatch.setattr(
        loader, "ShardReader", lambda path: opened.append(path.parent) or ShardReader(path)
    )
    flags = {"train_dataset": str(train_set), "val_dataset": str(val_set), "epochs": 1,
             "output": str(tmp_path / "run"), "image_size": "64"}  # fmt: skip
    train(load(Path("tiny"), ["network.name=cnn"], {"train": flags}))
    assert set(opened) == {train_set, val_set}


def test_validation_decides_by_what_is_asked_for(train_set, val_set, tmp_path, monkeypatch):
    """A network that is ever too sure, and tells apart ever better until its last epoch."""
    figures = iter([(0.5, 0.6), (0.7, 0.9), (0.5, 0.6), (0.7, 0.9), (0.9, 0.8)])

    def measured(*args):
        loss, auc = next(figures)
        return replace(real_row(*args), val_loss=loss, val_auc=auc)

    real_row = training._row
    monkeypatch.setattr(training, "_row", measured)
    for choose_by, best, n_epochs in (("loss", 1, 2), ("auc", 2, 3)):
        changes = {"epochs": 4, "early_stopping": 1, "plateau_patience": 1, "choose_by": choose_by}
        result = train(
            settings(
                train_set, val_set, tmp_path / choose_by,
                **{f"train__{name}": value for name, value in changes.items()},
            )
        )  # fmt: skip
        assert load_checkpoint(result.best).provenance["epoch"]["epoch"] == best
        assert len(result.rows) == n_epochs and result.stopped_early
        assert {row.learning_rate for row in result.rows} == {1e-3}  # falls in the next epoch


def test_validation_auc_does_not_tire_of_sure_answers():
    sure = torch.tensor([[18.0], [20.0], [25.0], [30.0]])
    both = torch.cat([torch.zeros_like(sure), sure], dim=1)
    part = training.EpochPart(n_steps=1, loss_sum=1.0, n_samples=4, seconds=1.0)
    for logits in (sure, both):
        measured = Measured([], torch.tensor([0, 0, 1, 1]), logits)
        assert training._row(1, 1e-3, part, measured, 0.0).val_auc == 1.0


@pytest.mark.parametrize(
    ("program", "told"),
    [("/env/bin/mdcsd", "/env/bin/mdcsd"), ("/env/mdcsd/__main__.py", "python -m mdcsd")],
)
def test_a_recorded_command_can_be_pasted(monkeypatch, program, told):
    words = ["train", "--set", 'train.also=["sharp faces_tf"]']
    monkeypatch.setattr(sys, "argv", [program, *words])
    command = environment()["command"]
    assert command.startswith(f"{told} train ") and shlex.split(command)[-3:] == words


@pytest.mark.parametrize("name", ["save_steps", "plateau_patience", "stitch_rate"])
def test_numbers_that_would_never_end_or_go_uphill_are_refused(train_set, val_set, tmp_path, name):
    with pytest.raises(SettingError, match=f"train.{name}"):
        settings(train_set, val_set, tmp_path, **{f"train__{name}": -1})


def test_what_is_trained_on_does_not_choose_the_epoch(train_set, tmp_path):
    with pytest.raises(DataError, match="is trained on, and cannot choose"):
        train(settings(train_set, train_set, tmp_path / "run", model="cnn"))
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_says_of_which_commit_its_training_began(
    train_set, val_set, tmp_path, monkeypatch
):
    """A checkout may move on, or be edited, while a training runs from it."""
    commits = iter(["begun"] + ["edited+"] * 20)
    monkeypatch.setattr(runs, "git_commit", lambda: next(commits))
    run = train(settings(train_set, val_set, tmp_path / "r", model="cnn", train__epochs=1))
    assert load_checkpoint(run.best).provenance["git_commit"] == "begun"


def test_two_runs_of_one_second_have_folders_of_their_own():
    names = {runs.new_run_path("mdcsd").name for _ in range(3)}
    assert len(names) == 3 and all(name.startswith("mdcsd-20") for name in names)
