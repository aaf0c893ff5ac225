"""Chains of FFmpeg's filters that decoded frames are sent through."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import av.error
import av.filter


class FrameGraph:
    """One chain of filters, for frames (`av.VideoFrame`) of one size and kind.

    Making one takes up to a second, so it is kept for the frames that follow (`fits`).
    """

    def __init__(self, source: dict[str, Any], filters: dict[str, dict[str, Any]]) -> None:
        """Build it.

        Args:
            source: what FFmpeg's `buffer` is told of the frames; see `told_of`.
            filters: names of filters, in order, with their options.

        Raises: av.error.FFmpegError if there is no such chain for such frames.
        """
        self._made_of = source, filters
        self._graph = av.filter.Graph()  # PyAV frees the others with it
        chain = [
            self._graph.add(name, ":".join(f"{key}={value}" for key, value in options.items()))
            for name, options in {"buffer": source, **filters, "buffersink": {}}.items()
        ]
        for before, behind in pairwise(chain):
            before.link_to(behind)
        self._graph.configure()
        self._source, self._sink = chain[0], chain[-1]

    def fits(self, source: dict[str, Any], filters: dict[str, dict[str, Any]]) -> bool:
        """Whether it is the chain that these would build."""
        return self._made_of == (source, filters)

    def send(self, frame: Any) -> list[Any]:
        """Put a frame in, and take what comes out."""
        self._source.push(frame)
        made = []
        try:
            while True:
                made.append(self._sink.pull())
        except av.error.BlockingIOError:
            return made


def told_of(frame: Any) -> dict[str, Any]:
    """Say what `buffer` must be told of a frame, but for colours; no filter here heeds time."""
    return {
        "video_size": f"{frame.width}x{frame.height}", "pix_fmt": frame.format.name,
        "time_base": "1/1", "pixel_aspect": "1/1",
    }  # fmt: skip
