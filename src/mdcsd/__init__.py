"""Tells whether the face in a video or picture is real or manipulated.

>>> from mdcsd import Detector                                      # doctest: +SKIP
>>> Detector().judge("clip.mp4")                                    # doctest: +SKIP

`import mdcsd` loads nothing heavy: the public names arrive when they are asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mdcsd.detector import Detector, detect
    from mdcsd.evaluation import evaluate
    from mdcsd.judging_nouns import Verdict
    from mdcsd.training import train

__all__ = ["Detector", "Verdict", "detect", "evaluate", "train"]

_HOME = {
    "Detector": "detector",
    "Verdict": "judging_nouns",
    "detect": "detector",
    "evaluate": "evaluation",
    "train": "training",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mdcsd' has no attribute {name!r}")
    return getattr(import_module(f"mdcsd.{_HOME[name]}"), name)
