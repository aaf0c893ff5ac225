"""The server's own HTML: upload page, API page, token page. Templates escape whatever they show."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from mdcsd.inputs import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from mdcsd.web.answers import GUARDED
from mdcsd.web.settings import Limits


@dataclass(frozen=True)
class Operation:
    """One way to call the API, as its page shows it."""

    method: str
    path: str
    summary: str
    description: str
    parameters: tuple[tuple[str, str, str], ...]
    answers: tuple[tuple[str, str], ...]


def _environment() -> Environment:
    loader = PackageLoader("mdcsd.web", "templates")
    return Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


def upload_page(limits: Limits) -> str:
    """The page where files are dropped and reports are read."""
    return (
        _environment()
        .get_template("upload.html.j2")
        .render(limits=limits, suffixes=sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES))
    )


def token_page(is_wrong: bool) -> str:
    """The page that asks for the token."""
    return _environment().get_template("token.html.j2").render(is_wrong=is_wrong)


def api_page(openapi: dict[str, Any]) -> str:
    """The API in words, from its OpenAPI description."""
    schemas = {
        name: json.dumps(schema, indent=2, ensure_ascii=False)
        for name, schema in openapi["components"]["schemas"].items()
    }
    page = _environment().get_template("api.html.j2")
    return page.render(
        info=openapi["info"],
        operations=_operations(openapi),
        schemas=schemas,
        guarded=[(status, answer["description"]) for status, answer in GUARDED.items()],
    )


def _operations(openapi: dict[str, Any]) -> list[Operation]:
    return [
        Operation(
            method=method.upper(),
            path=path,
            summary=operation["summary"],
            description=operation.get("description", ""),
            parameters=tuple(
                (each["name"], each["in"], each.get("description", ""))
                for each in operation.get("parameters", [])
            ),
            answers=tuple(
                (status, answer["description"])
                for status, answer in sorted(operation["responses"].items())
                if answer["description"] != GUARDED.get(int(status), {}).get("description")
            ),
        )
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
    ]
