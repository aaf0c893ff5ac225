"""A step: where gradients are taken, and that nothing but the step moves the weights."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from mdcsd import learner
from mdcsd.distributed import Rank
from mdcsd.errors import SettingError
from mdcsd.inference import sample_losses
from mdcsd.loader import FaceDataset, cut_batches, iter_batches
from mdcsd.training import train
from mdcsd.training_setup import setup
from mdcsd.training_step import take_step, up_the_slope
from test_training import curve, settings


def network_with_gradients() -> nn.Sequential:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    network[2].bias.requires_grad_(False)
    network(torch.randn(8, 3)).square().sum().backward()
    return network


def test_weights_go_up_their_gradient_by_the_radius_and_come_back():
    network = network_with_gradients()
    moving = [weight for weight in network.parameters() if weight.requires_grad]
    before = [weight.detach().clone() for weight in moving]
    slope = torch.cat([weight.grad.ravel() for weight in moving])
    with up_the_slope(network, 0.05):
        way = torch.cat([(w - was).ravel() for w, was in zip(moving, before, strict=True)])
        assert way.norm().item() == pytest.approx(0.05, rel=1e-4)
        assert torch.cosine_similarity(way, slope, dim=0).item() == pytest.approx(1.0, abs=1e-4)
    assert all(torch.equal(w, was) for w, was in zip(moving, before, strict=True))


def test_batch_norm_gathers_nothing_on_the_slope():
    network = network_with_gradients()
    gathered = {name: each.clone() for name, each in network[1].named_buffers()}
    with up_the_slope(network, 0.05):
        network(torch.randn(8, 3))
    assert all(torch.equal(each, gathered[name]) for name, each in network[1].named_buffers())
    network(torch.randn(8, 3))
    assert not torch.equal(network[1].running_mean, gathered["running_mean"])


def test_weights_come_back_after_an_error():
    network = network_with_gradients()
    before = network[0].weight.detach().clone()
    with pytest.raises(KeyboardInterrupt), up_the_slope(network, 0.05):
        raise KeyboardInterrupt
    assert torch.equal(network[0].weight, before)
    assert network[1].track_running_stats


def test_a_step_goes_down_the_gradient_of_where_the_slope_leads(train_set, val_set, tmp_path):
    """Against equation 2 of Foret et al., worked out beside it."""
    given = settings(
        train_set, val_set, tmp_path / "run", train__sam_radius=0.05, train__binary=True,
        network__dropout=0.0, train__precision="float32",
    )  # fmt: skip
    job, rank = setup(given), Rank(0, 1, torch.device("cpu"))
    data = FaceDataset(job.train_set, job.spec, job.classes)
    batch = next(iter_batches(data, cut_batches(range(8), 8, 1), 0, 0))
    learning = learner.start(job, rank, data, None)
    twin = copy.deepcopy(learning.network).train()
    learning.network.train()
    optimizer = torch.optim.SGD(learning.network.parameters(), lr=0.1)
    image = batch.image.contiguous(memory_format=torch.channels_last)

    def gradients():
        twin.zero_grad()
        sample_losses(twin(image), batch.label).mean().backward()
        return [weight.grad.clone() for weight in twin.parameters()]

    before = [weight.detach().clone() for weight in twin.parameters()]
    slope = gradients()
    length = torch.sqrt(sum(part.square().sum() for part in slope))
    with torch.no_grad():
        for weight, part in zip(twin.parameters(), slope, strict=True):
            weight.add_(0.05 * part / length)
    wanted = [-0.1 * part for part in gradients()]
    take_step(job, rank, replace(learning, optimizer=optimizer), batch, torch.ones(2), None)
    moved = [
        weight.detach() - was
        for weight, was in zip(learning.network.parameters(), before, strict=True)
    ]
    plain = [-0.1 * part for part in slope]
    assert apart(moved, wanted) < 0.1  # an untrained network is steep: rounding grows to .01
    assert apart(moved, plain) > 0.5


def apart(some: list[torch.Tensor], others: list[torch.Tensor]) -> float:
    """How far two ways are apart, as a share of the second's length."""
    one, other = (torch.cat([part.ravel() for part in parts]) for parts in (some, others))
    return float((one - other).norm() / other.norm())


def test_a_run_on_the_slope_repeats_itself(train_set, val_set, tmp_path):
    given = settings(
        train_set, val_set, tmp_path / "a", train__epochs=1, train__sam_radius=0.05,
        train__weight_average=0.9, train__mixup=0.2,
    )  # fmt: skip
    again = replace(given, train=replace(given.train, output=str(tmp_path / "b")))
    assert curve(train(given).rows) == curve(train(again).rows)


def test_a_radius_below_zero_is_refused(train_set, val_set, tmp_path):
    with pytest.raises(SettingError, match=r"train\.sam_radius"):
        settings(train_set, val_set, tmp_path / "run", train__sam_radius=-0.1)
