"""Start and stop: settings in, a listening server out, and a clean end on SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import FrameType

import uvicorn
from fastapi import FastAPI

from mdcsd.errors import InputError
from mdcsd.web.api import Serving
from mdcsd.web.app import make_app
from mdcsd.web.folder import DataFolder
from mdcsd.web.jobs import JobStore
from mdcsd.web.judging import JudgeFactory
from mdcsd.web.settings import ServeSettings
from mdcsd.web.uploads import Admission
from mdcsd.web.worker import Workers

_CONNECTIONS = 512
_IDLE_CONNECTION_S = 15
_GRACE_S = 5


def open_serving(settings: ServeSettings, load: JudgeFactory) -> Serving:
    """Open folder and queue of a server; nothing runs yet."""
    folder = DataFolder(settings.data)
    store = JobStore(folder.root)
    workers = Workers(settings, store, folder, load)
    return Serving(settings, store, folder, workers,
                   Admission(store, settings.limits, settings.workers))  # fmt: skip


@asynccontextmanager
async def running(serving: Serving) -> AsyncIterator[FastAPI]:
    """Run the workers behind an application for the time of a block."""
    with serving.folder.lock():
        serving.workers.start()
        try:
            yield make_app(serving)
        finally:
            serving.workers.stop()


class _Server(uvicorn.Server):
    """Ends open event streams as soon as a signal comes, so that stopping does not wait."""

    def __init__(self, config: uvicorn.Config, serving: Serving) -> None:
        super().__init__(config)
        self._serving = serving

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop: first the streams, then the rest."""
        self._serving.stopping.set()
        super().handle_exit(sig, frame)


async def _serve(settings: ServeSettings, listener: socket.socket, load: JudgeFactory) -> None:
    serving = open_serving(settings, load)
    async with running(serving) as app:
        config = uvicorn.Config(
            app, http="h11", ws="none", lifespan="off",
            access_log=False,  # ids are keys to reports: they stay out of logs
            log_level="warning", server_header=False, limit_concurrency=_CONNECTIONS,
            timeout_keep_alive=_IDLE_CONNECTION_S, timeout_graceful_shutdown=_GRACE_S,
        )  # fmt: skip
        shown = f"[{settings.host}]" if ":" in settings.host else settings.host
        print(f"listening on http://{shown}:{listener.getsockname()[1]}", flush=True)
        for number in (signal.SIGINT, signal.SIGTERM):
            # uvicorn raises what it caught once more when it has stopped: that is the end we want.
            signal.signal(number, lambda *_: None)
        await _Server(config, serving).serve([listener])


def serve(
    settings: ServeSettings,
    load: JudgeFactory,
    prepare: Callable[[ServeSettings], ServeSettings] | None = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C; queued jobs stay in the queue.

    Args:
        settings: what to serve with.
        load: called in each worker process; makes the function that judges.
        prepare: completes the settings when the address is had; what takes long comes last.

    Raises: InputError if the folder is in use or the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        raise InputError(
            f"--host {settings.host} --port {settings.port}: cannot listen there "
            f"({error.strerror}). Choose another port, or stop what has this one."
        ) from None
    with listener:
        if prepare is not None:
            settings = prepare(settings)
        asyncio.run(_serve(settings, listener, load))
