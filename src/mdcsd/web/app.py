"""The application: API and pages behind one guard."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles

from mdcsd.web import pages
from mdcsd.web.answers import GUARDED
from mdcsd.web.api import Serving, about_routes, api_routes, serving_of
from mdcsd.web.jobs import QueueError
from mdcsd.web.security import (
    OWNER_COOKIE,
    SESSION_COOKIE,
    Guard,
    new_owner,
    same_secret,
    session_of,
)
from mdcsd.web.uploads import Refused

_FORM_BYTES = 4096
_COOKIE_S = 7 * 24 * 3600
_page_routes = APIRouter()

Shared = Annotated[Serving, Depends(serving_of)]


def make_app(serving: Serving) -> FastAPI:
    """Put routes, guard and error answers together."""
    app = FastAPI(
        title="mdcsd",
        version=version_of("mdcsd"),
        description="Is the face in this video real or manipulated? A score is evidence from one "
        "detector, no proof.",
        docs_url=None,
        redoc_url=None,
        responses=GUARDED,
    )
    app.state.serving = serving
    app.include_router(api_routes)
    app.include_router(about_routes)
    app.include_router(_page_routes, include_in_schema=False)
    app.mount("/static", StaticFiles(packages=[("mdcsd.web", "static")]))
    app.add_middleware(Guard, settings=serving.settings)
    app.add_exception_handler(405, _answer_wrong_method)
    app.add_exception_handler(Refused, _answer_refused)
    app.add_exception_handler(QueueError, _answer_no_queue)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    return app


@_page_routes.get("/")
def upload_page(request: Request, serving: Shared) -> HTMLResponse:
    """The upload page; a browser gets its owner cookie, or keeps it for another week."""
    page = HTMLResponse(pages.upload_page(serving.settings.limits))
    owner = request.cookies.get(OWNER_COOKIE) or new_owner()
    _set_cookie(page, request, OWNER_COOKIE, owner)
    return page


@_page_routes.get("/docs")
def api_page(request: Request) -> HTMLResponse:
    """The API's page."""
    return HTMLResponse(pages.api_page(request.app.openapi()))


@_page_routes.get("/login")
def token_page() -> HTMLResponse:
    """Ask for the token."""
    return HTMLResponse(pages.token_page(is_wrong=False))


@_page_routes.post("/login")
async def take_token(request: Request, serving: Shared) -> Response:
    """Let a browser in that knows the token."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _FORM_BYTES:
            raise Refused(413, "that is no token.")
    given = parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0].strip()
    token = serving.settings.token
    if token is None or not same_secret(given, token):
        return HTMLResponse(pages.token_page(is_wrong=True), status_code=401)
    entered = RedirectResponse("/", status_code=303)
    _set_cookie(entered, request, SESSION_COOKIE, session_of(token))
    return entered


def _set_cookie(response: Response, request: Request, name: str, value: str) -> None:
    """Set a cookie that a link on another page does not lose: nothing here changes by a GET."""
    is_https = request.url.scheme == "https"
    response.set_cookie(
        name, value, max_age=_COOKIE_S, httponly=True, samesite="lax", secure=is_https
    )


def _answer_wrong_method(request: Request, error: Exception) -> JSONResponse:
    """Name every method of the path: the router itself names those of its first route only."""
    path = request.url.path
    routes = (*api_routes.routes, *about_routes.routes, *_page_routes.routes)
    known = [each for each in routes if isinstance(each, APIRoute) and each.path_regex.match(path)]
    allowed = sorted({method for route in known for method in route.methods or ()})
    detail = f"{request.method} is not answered here."
    return JSONResponse({"detail": detail}, 405, {"allow": ", ".join(allowed)})


def _answer_refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refused)
    headers = {} if error.retry_after_s is None else {"retry-after": str(error.retry_after_s)}
    return JSONResponse({"detail": error.reason}, error.status, headers)


def _answer_no_queue(request: Request, error: Exception) -> JSONResponse:
    print(f"error: the queue: {error}", file=sys.stderr)
    detail = "the queue cannot be read or written now. Try again."
    return JSONResponse({"detail": detail}, 503, {"retry-after": "10"})


def _answer_invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return JSONResponse({"detail": f"{where}: {first['msg']}"}, 422)
