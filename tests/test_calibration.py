"""The temperature, on answers whose right temperature is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mdcsd.calibration import fit_temperature
from mdcsd.metrics import even_weights


def made(n: int, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (n, 1) that are too sure by a factor, of classes that are equally frequent."""
    rng = np.random.default_rng(0)
    label = np.arange(n) % 2
    honest = rng.normal(np.where(label == 1, 1.0, -1.0), np.sqrt(2.0))  # its own log-odds
    return torch.from_numpy(honest * temperature)[:, None], torch.from_numpy(label)


def test_the_temperature_that_was_put_in_comes_out():
    logits, label = made(20_000, 2.5)
    assert fit_temperature(logits, label) == pytest.approx(2.5, rel=0.05)


def test_the_share_of_fakes_does_not_move_it():
    logits, label = made(4_000, 1.7)
    fakes = label == 1
    many = torch.cat([logits, *[logits[fakes]] * 4]), torch.cat([label, *[label[fakes]] * 4])
    assert fit_temperature(*many) == pytest.approx(fit_temperature(logits, label), rel=1e-3)
    unknown = torch.cat([label, torch.full((50,), -1)])
    wild = torch.cat([logits, torch.full((50, 1), 30.0).double()])
    assert fit_temperature(wild, unknown) == pytest.approx(fit_temperature(logits, label), rel=1e-6)


def test_weights_are_shared_by_the_classes_alike():
    weights = even_weights(np.array([0, 1, 1, 1, 1]))
    assert weights.tolist() == pytest.approx([0.5] + [0.125] * 4)
    assert even_weights(np.array([1, 1])).tolist() == [0.5, 0.5]
