"""Who may ask, and what a browser may do with the answer.

Four checks before any route: the Host header (a page elsewhere that points its own name at this
machine is not served), the Origin of whatever changes something (no other page may post or
delete), the token if one is set, and the headers of every answer.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mdcsd.web.settings import ServeSettings

OWNER_COOKIE = "mdcsd_owner"
SESSION_COOKIE = "mdcsd_session"

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "x-content-type-options": "nosniff",
    # "no-referrer" would have browsers send "Origin: null" with the token's form, which is refused.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "cache-control": "no-store",
    "content-security-policy": PAGE_POLICY,
    "x-frame-options": "DENY",
}
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_OPEN_PATHS = frozenset({"/health", "/version", "/login"})


def new_owner() -> str:
    """Make the secret by which a browser is known again: 256 random bits."""
    return secrets.token_urlsafe(32)


def owner_of(cookie: str | None) -> str:
    """Turn an owner's secret into what the queue remembers of it; "" for nobody."""
    return hashlib.sha256(cookie.encode()).hexdigest() if cookie else ""


def session_of(token: str) -> str:
    """Derive the cookie that stands for a token in a browser, from which it cannot be read."""
    return hmac.new(token.encode(), b"mdcsd session", hashlib.sha256).hexdigest()


def same_secret(given: str, expected: str) -> bool:
    """Compare in a time that does not depend on where two secrets differ."""
    return hmac.compare_digest(given.encode(), expected.encode())


class Guard:
    """ASGI middleware: checks requests, adds headers."""

    def __init__(self, app: ASGIApp, settings: ServeSettings) -> None:
        """Wrap an application."""
        self._app = app
        self._token = settings.token
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if message["status"] >= 400 and scope["method"] not in _READING:
                    headers["connection"] = "close"  # what is left of the body stays unread
            await send(message)

        refusal = self._refusal(scope["method"], scope["path"], Headers(scope=scope))
        if refusal is None:
            await self._app(scope, receive, send_guarded)
        else:
            await _answer(send_guarded, *refusal)

    def _refusal(self, method: str, path: str, headers: Headers) -> tuple[int, str, str] | None:
        """Say why a request is refused: status, reason, where a browser should go instead."""
        host = headers.get("host", "")
        if not self._settings.answers_to(_host_name(host)):
            return 421, "this server does not answer under that name. See --allow-host.", ""
        if method not in _READING and not _is_same_origin(headers, host):
            return 403, "a page of another origin may not change anything here.", ""
        if self._token is None or path in _OPEN_PATHS or path.startswith("/static/"):
            return None
        if _carries(headers, self._token):
            return None
        is_page = method == "GET" and "text/html" in headers.get("accept", "")
        reason = "a token is needed. Send it as: Authorization: Bearer TOKEN"
        return 401, reason, "/login" if is_page else ""


def _host_name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _is_same_origin(headers: Headers, host: str) -> bool:
    """Programs send no Origin; browsers do, with whatever could change something."""
    origin = headers.get("origin")
    if origin is not None:
        return origin.partition("://")[2].lower() == host.lower()
    return headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


def _carries(headers: Headers, token: str) -> bool:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and same_secret(given.strip(), token):
        return True
    return any(
        same_secret(value, session_of(token)) for value in _cookies(headers.getlist("cookie"))
    )


def _cookies(lines: Iterable[str]) -> Iterable[str]:
    for line in lines:
        try:
            cookie = SimpleCookie(line).get(SESSION_COOKIE)
        except CookieError:
            continue
        if cookie is not None:
            yield cookie.value


async def _answer(send: Send, status: int, reason: str, location: str) -> None:
    body = json.dumps({"detail": reason}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if location:
        status = 303
        headers.append((b"location", location.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
