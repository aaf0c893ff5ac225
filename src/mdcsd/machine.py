"""What the machine has for a process that judges beside others: its share of the cores, its GPU."""

from __future__ import annotations

import os

_MOST_DECODING = 16  # threads: more cost memory and gain nothing, as FFmpeg says itself
_decoding_threads = 0


def count_cores() -> int:
    """Cores that this process may use, where the system says so."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def take_share(n_processes: int, slot: int = 0, n_gpus: int = 0) -> None:
    """Take a share of the cores, and one of the GPUs. Call before torch is imported.

    Args:
        n_processes: how many judge at once.
        slot: which of them this one is, from 0; they are dealt to the GPUs in turn.
        n_gpus: how many torch sees.
    """
    global _decoding_threads
    n_threads = max(count_cores() // n_processes, 1)
    _decoding_threads = min(n_threads, _MOST_DECODING)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
        os.environ[name] = str(n_threads)
    if n_gpus:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = visible.split(",") if visible else [str(number) for number in range(n_gpus)]
        os.environ["CUDA_VISIBLE_DEVICES"] = names[slot % n_gpus]


def decoding_threads() -> int:
    """Threads that decoding a video may take; 0, until a share is taken, leaves it to FFmpeg."""
    return _decoding_threads
