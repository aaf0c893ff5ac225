"""The REST API. What a route does lives in the rooms above."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from importlib.metadata import version as version_of
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from mdcsd.report import content_security_policy
from mdcsd.web.answers import (
    NOT_DONE,
    NOT_FOUND,
    UPLOADING,
    Health,
    JobList,
    JobStatus,
    Version,
    status_of,
)
from mdcsd.web.folder import DataFolder
from mdcsd.web.jobs import Job, JobStore, QueueError, new_id
from mdcsd.web.security import OWNER_COOKIE, owner_of, same_secret
from mdcsd.web.settings import ServeSettings
from mdcsd.web.uploads import Admission, Refused, drain, receive, shown_name
from mdcsd.web.worker import Workers

API = "/api/v1"
_POLL_S = 0.3
_HEARTBEAT_S = 10.0
_STREAM_S = 300.0  # a browser connects again by itself
_EVENT = {
    "type": "object",
    "properties": {
        "event": {"type": "string", "enum": ["message", "gone"]},
        "data": {"type": "string", "description": "A JobStatus as JSON; {} with gone."},
    },
    "required": ["data"],
}
_BODY = {
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
}

api_routes = APIRouter(prefix=API)
about_routes = APIRouter()


@dataclass
class Serving:
    """What routes share."""

    settings: ServeSettings
    store: JobStore
    folder: DataFolder
    workers: Workers
    admission: Admission
    stopping: asyncio.Event = field(default_factory=asyncio.Event)


def serving_of(request: Request) -> Serving:
    """Find what the application serves with."""
    serving: Serving = request.app.state.serving
    return serving


def _owner(request: Request) -> str:
    return owner_of(request.cookies.get(OWNER_COOKIE))


def _job(job_id: str, request: Request) -> Job:
    """Find a job for whoever may see it: its owner, or, of nobody's, whoever knows its id."""
    job = serving_of(request).store.get(job_id)
    if job is None or (job.owner and not same_secret(job.owner, _owner(request))):
        raise HTTPException(404, "no such file, or it was deleted, or it is not yours.")
    return job


Shared = Annotated[Serving, Depends(serving_of)]
Owner = Annotated[str, Depends(_owner)]
OwnJob = Annotated[Job, Depends(_job)]


@api_routes.post(
    "/jobs",
    status_code=202,
    summary="Send a file to be judged",
    response_description="Taken; Location says where to ask",
    responses=UPLOADING,
    openapi_extra={"requestBody": {**_BODY, "required": True}},
)
async def post_job(
    request: Request,
    response: Response,
    serving: Shared,
    owner: Owner,
    name: Annotated[str, Query(max_length=255, description="What to call it.")] = "unnamed file",
) -> JobStatus:
    """The body is the file itself, whatever its Content-Type (forms are not taken).

    Sent with the page's cookie it belongs to that browser; sent without, it is seen by whoever
    knows its id.
    """
    body = request.stream()
    try:
        return await _take(request, response, body, serving, owner, name)
    except Refused as refused:
        if refused.status != 408:
            await drain(body)
        raise


async def _take(
    request: Request,
    response: Response,
    body: AsyncIterator[bytes],
    serving: Serving,
    owner: str,
    name: str,
) -> JobStatus:
    _check_not_a_form(request)
    job_id = new_id()
    part = serving.folder.part(job_id)
    length = request.headers.get("content-length", "")
    claimed = int(length) if length.isascii() and length.isdigit() else None
    limits = serving.settings.limits
    now = time.time()
    address = request.client.host if request.client else ""
    try:
        with serving.admission.place(owner, address):
            got = await receive(body, claimed, part, limits)
            job = Job(job_id, owner, shown_name(name), got.suffix, got.sha256, got.n_bytes, now,
                      now + limits.keep_s)  # fmt: skip
            os.replace(part, serving.folder.upload(job))
            await run_in_threadpool(_enter, job, serving)
            if not owner:
                serving.admission.sent(job_id, address)
    except OSError as error:
        raise Refused(507, f"the file cannot be kept here ({error.strerror}).") from None
    response.headers["location"] = f"{API}/jobs/{job_id}"
    return status_of(job, serving.store)


@api_routes.get("/jobs", summary="List the files of this browser", response_description="Its files")
def list_jobs(serving: Shared, owner: Owner) -> JobList:
    """Needs the page's cookie; without it the list is empty."""
    jobs = serving.store.of_owner(owner) if owner else []
    return JobList(jobs=[status_of(job, serving.store) for job in jobs])


@api_routes.get(
    "/jobs/{job_id}",
    summary="Ask where a file stands",
    response_description="Its status",
    responses=NOT_FOUND,
)
def get_job(job: OwnJob, serving: Shared) -> JobStatus:
    """States: queued, running, done, failed."""
    return status_of(job, serving.store)


@api_routes.get(
    "/jobs/{job_id}/events",
    summary="Watch a file's progress",
    response_class=StreamingResponse,
    responses={**NOT_FOUND, 200: {"description": "Server-sent events, one status each",
               "content": {"text/event-stream": {"schema": _EVENT}}}},
)  # fmt: skip
def get_events(job: OwnJob, serving: Shared) -> StreamingResponse:
    """Each event's data is a status as JSON; the stream ends when the file is done or failed."""
    return StreamingResponse(_events(job.id, serving), media_type="text/event-stream")


@api_routes.get(
    "/jobs/{job_id}/report.html",
    summary="Read the report",
    response_description="The page",
    response_class=HTMLResponse,
    responses={**NOT_FOUND, **NOT_DONE},
)
def get_report_html(job: OwnJob, serving: Shared) -> HTMLResponse:
    """One self-contained page."""
    headers = {"content-security-policy": _report_policy(), "x-frame-options": "SAMEORIGIN"}
    return HTMLResponse(_read_report(job, serving, ".html"), headers=headers)


@api_routes.get(
    "/jobs/{job_id}/report.json",
    summary="Read the report as JSON",
    response_class=Response,
    responses={**NOT_FOUND, **NOT_DONE, 200: {"description": "The verdict and what it rests on",
               "content": {"application/json": {"schema": {"type": "object"}}}}},
)  # fmt: skip
def get_report_json(job: OwnJob, serving: Shared) -> Response:
    """The object that `mdcsd detect --json` writes for a file."""
    return Response(_read_report(job, serving, ".json"), media_type="application/json")


@api_routes.delete(
    "/jobs/{job_id}",
    status_code=204,
    summary="Delete a file and its report",
    response_description="Gone",
    responses=NOT_FOUND,
)
def delete_job(job: OwnJob, serving: Shared) -> None:
    """At once; one that is being judged is given up, and its file goes when the worker lets go."""
    serving.store.expire(job)
    if serving.store.delete_unless_running(job):
        serving.folder.forget(job)


@about_routes.get(
    "/health",
    summary="Ask whether the server works",
    response_description="It does",
    responses={503: {"model": Health, "description": "No worker process lives"}},
)
def health(serving: Shared, response: Response) -> Health:
    """For load balancers and containers; needs no token."""
    alive = serving.workers.count_alive()
    if not alive:
        response.status_code = 503
    status = "ok" if alive else "no worker"
    return Health(status=status, workers=alive, in_flight=serving.store.count_in_flight())


@about_routes.get(
    "/version", summary="Ask what is running", response_description="The version of mdcsd"
)
def version() -> Version:
    """Needs no token."""
    return Version(version=version_of("mdcsd"))


def _check_not_a_form(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        raise Refused(415, "forms are not taken: send the file itself, as in curl -T FILE -X POST.")


def _enter(job: Job, serving: Serving) -> None:
    """Queue a job whose file lies ready; no file stays behind if that fails."""
    try:
        serving.store.add(job)
    except QueueError:
        serving.folder.forget_upload(job)
        raise


def _read_report(job: Job, serving: Serving, suffix: str) -> bytes:
    if job.state != "done":
        raise HTTPException(409, job.error or f"the file is {job.state}: no report yet.")
    try:
        return serving.folder.report(job, suffix).read_bytes()
    except FileNotFoundError:  # deleted between the two looks
        raise HTTPException(404, "the report was deleted.") from None


def _report_policy() -> str:
    """What a report may do, shown in the page or on its own: no origin, no requests."""
    return f"{content_security_policy()}; frame-ancestors 'self'; sandbox allow-scripts"


async def _events(job_id: str, serving: Serving) -> AsyncIterator[str]:
    ends_s = time.monotonic() + _STREAM_S
    told, told_s = "", 0.0
    while time.monotonic() < ends_s and not serving.stopping.is_set():
        job = await run_in_threadpool(serving.store.get, job_id)
        if job is None:
            yield "event: gone\ndata: {}\n\n"
            return
        status = (await run_in_threadpool(status_of, job, serving.store)).model_dump_json()
        if status != told:
            yield f"data: {status}\n\n"
        elif time.monotonic() - told_s > _HEARTBEAT_S:
            yield ": still here\n\n"
        else:
            await asyncio.sleep(_POLL_S)
            continue
        told, told_s = status, time.monotonic()
        if job.state in ("done", "failed"):
            return
        await asyncio.sleep(_POLL_S)
