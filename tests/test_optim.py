"""Learning rates: who moves how fast, and when it changes."""

from __future__ import annotations

import pytest
import torch

from mdcsd.config import NetworkConfig
from mdcsd.network import build_network
from mdcsd.optim import (
    best_epoch,
    cosine_learning_rate,
    parameter_groups,
    plateau_learning_rate,
    stops_early,
)
from mdcsd.preprocess import PreprocessSpec


def test_stitches_and_only_they_move_five_times_faster():
    network = build_network(
        NetworkConfig(backbone="efficientnet_lite0"), PreprocessSpec(64, 3, "raw", 1.3), 2
    )
    rest, stitches = parameter_groups(network, 2e-4, 5.0)
    assert stitches["lr"] == pytest.approx(1e-3) and rest["lr"] == 2e-4
    assert {id(p) for p in stitches["params"]} == {id(u.weight) for u in network.stitches}
    assert len(rest["params"]) + len(stitches["params"]) == len(list(network.parameters()))


def test_the_rate_reaches_the_weights():
    """Adam's first step is the learning rate: five times as long for a stitch."""
    network = build_network(
        NetworkConfig(backbone="efficientnet_lite0"), PreprocessSpec(64, 3, "raw", 1.3), 2
    )
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    optimizer = torch.optim.Adam(parameter_groups(network, 1e-3, 5.0))
    network(torch.rand(4, 3, 64, 64) * 255).sum().backward()
    optimizer.step()
    steps = {n: (p - before[n]).abs().max().item() for n, p in network.named_parameters()}
    assert steps["stitches.0.weight"] == pytest.approx(5e-3, rel=0.01)
    assert steps["head.1.weight"] == pytest.approx(1e-3, rel=0.01)


def test_a_network_without_stitches_has_one_group():
    network = build_network(NetworkConfig(name="cnn"), PreprocessSpec(64, 3, "raw", 1.3), 2)
    assert len(parameter_groups(network, 1e-3, 5.0)) == 1


def test_plateau_as_keras_has_it():
    assert plateau_learning_rate([], 1e-3, 2) == 1e-3
    assert plateau_learning_rate([1.0, 0.9, 0.8], 1e-3, 2) == 1e-3
    assert plateau_learning_rate([1.0, 1.0], 1e-3, 2) == 1e-3
    assert plateau_learning_rate([1.0, 1.0, 1.0], 1e-3, 2) == pytest.approx(2e-4)
    assert plateau_learning_rate([1.0] * 5, 1e-3, 2) == pytest.approx(4e-5)
    assert plateau_learning_rate([1.0, 0.99995, 0.9999], 1e-3, 2) == pytest.approx(2e-4)
    assert plateau_learning_rate([1.0] * 50, 1e-3, 2) == 1e-6


def test_early_stopping_and_the_best_epoch():
    losses = [1.0, 0.5, 0.6, 0.5, 0.7]
    assert best_epoch(losses) == 1
    assert not stops_early(losses, 4)
    assert stops_early(losses, 3)
    assert not stops_early(losses, 0)


def test_a_cosine_rises_falls_and_ends_at_nothing():
    rates = [cosine_learning_rate(step, 110, 1.0, 10) for step in range(111)]
    assert rates[0] == 0.1 and rates[9] == rates[10] == 1.0
    assert rates[60] == 0.5 and rates[110] == 0.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
