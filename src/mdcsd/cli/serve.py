"""`mdcsd serve`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mdcsd.cli.options import Weights
from mdcsd.default_weights import weights_path
from mdcsd.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mdcsd.web.settings import ServeSettings

_TOKEN = "MDCSD_TOKEN"
_EXTRA = ("fastapi", "starlette", "pydantic", "uvicorn")


TokenFile = Annotated[
    Path | None,
    typer.Option("--token-file", help="File with the token to ask for.", show_default=f"${_TOKEN}"),
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option("--allow-host", metavar="NAME", help="Also answer to this name; repeatable."),
]


def serve(
    weights: Weights = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="TCP port; 0 takes a free one.")] = 8000,
    data: Annotated[
        Path, typer.Option("--data", help="Private folder for queue, uploads and reports.")
    ] = Path("runs/serve"),
    workers: Annotated[
        int | None, typer.Option("--workers", help="Processes.", show_default="one a GPU or core")
    ] = None,
    frames: Annotated[int, typer.Option("--frames", help="Frames sampled over a video.")] = 32,
    token_file: TokenFile = None,
    allow_host: AllowHost = None,
    max_mb: Annotated[float, typer.Option("--max-mb", help="Megabytes of a file.")] = 512,
    max_seconds: Annotated[float, typer.Option("--max-seconds", help="Of a video.")] = 900,
    max_megapixels: Annotated[
        float, typer.Option("--max-megapixels", help="Of a picture or frame.")
    ] = 50,
    max_jobs: Annotated[
        int, typer.Option("--max-jobs", help="Files waiting or being judged, in all.")
    ] = 64,
    max_jobs_each: Annotated[
        int, typer.Option("--max-jobs-each", help="The same, of one browser.")
    ] = 8,
    job_seconds: Annotated[
        float, typer.Option("--job-seconds", help="After which judging a file is given up.")
    ] = 300,
    keep_minutes: Annotated[
        float, typer.Option("--keep-minutes", help="After which a file is forgotten.")
    ] = 60,
) -> None:
    """Serve an upload page and a REST API, on this machine only unless told otherwise."""
    run = _import_server()
    from mdcsd.web.judging import count_workers, load_judge
    from mdcsd.web.settings import Limits, ServeSettings

    limits = Limits(
        upload_bytes=round(max_mb * 2**20),
        duration_s=max_seconds,
        frame_pixels=round(max_megapixels * 1e6),
        jobs_in_all=max_jobs,
        jobs_per_owner=max_jobs_each,
        job_time_s=job_seconds,
        keep_s=keep_minutes * 60,
    )
    settings = ServeSettings(
        weights=str(weights_path(weights)), data=data, host=host, port=port, workers=workers or 1,
        frames=frames, token=_read_token(token_file), allowed_hosts=tuple(allow_host or ()),
        limits=limits,
    )  # fmt: skip
    _warn(settings)
    run(settings, load_judge, lambda known: count_workers(known, workers))


def _import_server() -> Callable[..., None]:
    try:
        from mdcsd.web.server import serve as run
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        raise InputError(
            f"serve needs {error.name}, which is not installed. Install the extra 'web': "
            "pip install '.[web]' in mdcsd's folder"
        ) from None
    return run


def _read_token(path: Path | None) -> str | None:
    if path is None:
        return os.environ.get(_TOKEN, "").strip() or None
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--token-file {path}: cannot be read ({error}).") from None


def _warn(settings: ServeSettings) -> None:
    if not settings.is_loopback and settings.token is None:
        print(
            f"warning: listening on {settings.host} without a token: whoever reaches this machine "
            f"can upload. Set {_TOKEN} or --token-file.",
            file=sys.stderr,
        )
