"""What the API answers: the models that its OpenAPI description is made of."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from mdcsd.web.jobs import Job, JobStore, State

Answers = dict[int | str, dict[str, Any]]


class Problem(BaseModel):
    """Why a request was refused."""

    detail: str


class JobStatus(BaseModel):
    """One file: where it stands, and what came out."""

    id: str
    name: str = Field(description="What you called the file; only shown, never used.")
    sha256: str = Field(description="SHA-256 of the bytes received, 64 hexadecimal digits.")
    n_bytes: int
    state: State
    ahead: int = Field(description="Files that are judged before this one.")
    done: int = Field(description="Frames judged so far.")
    total: int = Field(description="Frames to judge; 0 while that is not known.")
    verdict: str | None = Field(
        description="likely_real, uncertain, likely_manipulated or cannot_judge."
    )
    score: float | None = Field(description="0..1, higher is more fake; null without a verdict.")
    error: str | None = Field(description="Why the file could not be judged.")
    expires_s: float = Field(
        description="Unix time at which everything about it is deleted; later once it is judged."
    )


class JobList(BaseModel):
    """The files of one browser, the newest first."""

    jobs: list[JobStatus]


class Health(BaseModel):
    """How the server is."""

    status: str
    workers: int = Field(description="Worker processes alive.")
    in_flight: int = Field(description="Files waiting or being judged.")


class Version(BaseModel):
    """What is running."""

    version: str


def _problem(description: str) -> dict[str, Any]:
    """Describe a refusal; JSON, whatever the route itself answers with."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


GUARDED: Answers = {
    401: _problem("A token is needed"),
    403: _problem("Asked by a page of another origin"),
    421: _problem("Asked under a name that is not answered"),
    503: _problem("The queue cannot be read or written now"),
}
NOT_FOUND: Answers = {
    404: _problem("No such file, deleted, or not yours"),
    422: _problem("Request not understood"),
}
NOT_DONE: Answers = {409: _problem("There is no report (yet)")}
UPLOADING: Answers = {
    400: {"model": Problem, "description": "The connection ended before the file did"},
    408: _problem("Too slow"),
    413: _problem("Too large"),
    415: _problem("No video or picture that is judged here"),
    422: _problem("An empty file, or a name that is too long"),
    429: _problem("Too many files at once; Retry-After says when to come again"),
    507: _problem("No space left"),
}


def status_of(job: Job, store: JobStore) -> JobStatus:
    """Say where a job stands, and nothing of what is ours to know only."""
    known = {name: getattr(job, name) for name in JobStatus.model_fields if name != "ahead"}
    return JobStatus(ahead=store.count_ahead(job) if job.state == "queued" else 0, **known)
