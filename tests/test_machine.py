"""A process's share of the machine."""

from __future__ import annotations

import os

import pytest

from mdcsd import machine
from mdcsd.container import opened
from mdcsd.decoding import ready_to_decode

SHARED = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM", "CUDA_VISIBLE_DEVICES")


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for name in SHARED:  # whatever is set in a test goes with it
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(machine, "_decoding_threads", 0)


def threads_of_a_decoder(clip):
    with opened(clip) as container:
        return ready_to_decode(container).codec_context.thread_count


@pytest.mark.parametrize(
    ("n_cores", "n_processes", "share"), [(4, 1, 4), (4, 2, 2), (4, 3, 1), (4, 64, 1), (64, 2, 32)]
)
def test_a_share_of_the_cores(monkeypatch, clip, n_cores, n_processes, share):
    monkeypatch.setattr(machine, "count_cores", lambda: n_cores)
    machine.take_share(n_processes)
    assert os.environ["OMP_NUM_THREADS"] == str(share)
    assert threads_of_a_decoder(clip) == min(share, 16), "more are of no use to FFmpeg"


def test_without_a_share_decoding_takes_what_ffmpeg_takes(clip):
    assert threads_of_a_decoder(clip) == 0


@pytest.mark.parametrize(("visible", "names"), [("", "01"), ("4,7", "47")])
def test_processes_are_dealt_to_the_gpus_in_turn(monkeypatch, visible, names):
    for slot in range(5):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        machine.take_share(5, slot, n_gpus=2)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == names[slot % 2]
