"""A process's share of the machine."""

from __future__ import annotations

import os

import pytest

from mdcsd import machine
from mdcsd.container import opened
from mdcsd.decoding import ready_to_decode


@pytest.fixture
def four_cores(monkeypatch):
    monkeypatch.setattr(machine, "count_cores", lambda: 4)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM", "MDCSD_THREADS"):
        monkeypatch.setenv(name, "")  # whatever is set in a test goes with it


@pytest.mark.parametrize(("n_processes", "share"), [(1, 4), (2, 2), (3, 1), (64, 1)])
def test_a_share_of_the_cores_bounds_the_network_and_decoding(four_cores, clip, n_processes, share):
    machine.take_share(n_processes)
    assert os.environ["OMP_NUM_THREADS"] == str(share)
    with opened(clip) as container:
        assert ready_to_decode(container).codec_context.thread_count == share


def test_without_a_share_decoding_takes_what_ffmpeg_takes(four_cores):
    assert machine.count_threads() == 0
