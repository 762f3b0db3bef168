"""Who may ask: checked before any page or tile is made, and what every answer forbids the browser.

A page on another site can make a browser send requests to this machine. Such a request names
another host (DNS rebinding), or the browser tells that it comes from another site; both are
refused. Where the page is served to other machines, a token is asked as well.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = "; ".join([
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'",
    "connect-src 'self'", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'",
])  # fmt: skip
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
_READS = frozenset({"GET", "HEAD"})
BODY_BYTES = 64 * 1024
"""Most of a request's body, where a route does not allow more."""


@dataclass(frozen=True, slots=True)
class Access:
    """Where the page is served, and what has to be shown to see it."""

    host: str
    port: int
    token: str | None = None
    """Asked of everybody; None on the loopback address, which only this machine reaches."""

    @classmethod
    def at(cls, host: str, port: int) -> Access:
        """At an address: with a new token, unless only this machine reaches it."""
        return cls(host, port, None if is_loopback(host) else secrets.token_urlsafe(24))

    @property
    def address(self) -> str:
        """What to open, token included."""
        shown = "localhost" if self.host in {"0.0.0.0", "::"} else self.host  # noqa: S104 - compared
        named = f"[{shown}]" if ":" in shown else shown
        return f"http://{named}:{self.port}/" + (f"?token={self.token}" if self.token else "")

    def names(self, header: str) -> bool:
        """Whether a Host header may name this server: only the loopback names do.

        Not asked where there is a token: a foreign name that points here brings no cookie.
        """
        if self.token is not None:
            return True
        name, _, port = header.rpartition(":") if _has_port(header) else (header, "", "80")
        return port == str(self.port) and is_loopback(name.strip("[]"))

    @property
    def cookie(self) -> str:
        """Cookies are kept by host, whatever the port."""
        return f"axilla-{self.port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """The outermost layer: refuses, or lets through and adds the headers."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        access: Access,
        most_bytes: Callable[[str, str], int] = lambda method, path: BODY_BYTES,
    ) -> None:
        self._app = app
        self._access = access
        self._most_bytes = most_bytes
        """Of a request's body, by its method and path."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own_file = scope["path"].startswith("/static/")
                _add_headers(MutableHeaders(scope=message), own_file=own_file)
            await send(message)

        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, guarded)
            return
        await self._app(scope, receive, guarded)

    def _refusal(self, scope: Scope, headers: Headers) -> ASGIApp | None:
        if not self._access.names(headers.get("host", "")):
            return _refused(421, "This address is not served here: open the one that was printed.")
        if _is_foreign(scope, headers):
            return _refused(403, "Requests from another site are refused.")
        bare = scope["method"] in _READS or (
            scope["method"] == "DELETE" and "transfer-encoding" not in headers
        )
        length = headers.get("content-length", "0" if bare else "")
        if not length.isdigit():
            return _refused(411, "The request does not say how long it is.")
        if int(length) > self._most_bytes(scope["method"], scope["path"]):
            return _refused(413, "The request is too large.")
        return None if self._access.token is None else self._without_token(scope, headers)

    def _without_token(self, scope: Scope, headers: Headers) -> ASGIApp | None:
        given = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        shown = given.pop("token", None)
        if shown is not None and scope["method"] in _READS and self._is_token(shown):
            return self._with_cookie(scope, given)
        if self._is_token(_cookie(headers, self._access.cookie)):
            return None
        return _refused(
            401, "This page needs its token: open the address that `axilla serve` printed."
        )

    def _is_token(self, shown: str | None) -> bool:
        token = self._access.token
        return (
            token is not None
            and shown is not None
            and hmac.compare_digest(shown.encode(), token.encode())
        )

    def _with_cookie(self, scope: Scope, query: dict[str, str]) -> ASGIApp:
        """On the first visit the token moves from the address into a cookie."""
        # A path that began with two slashes would be another host's address.
        path = "/" + scope["path"].lstrip("/\\")
        response = RedirectResponse(path + (f"?{urlencode(query)}" if query else ""), 303)
        # Lax: a link in a mail leads here too; what other pages ask for by themselves is refused.
        response.set_cookie(
            self._access.cookie, str(self._access.token), httponly=True, samesite="lax", path="/"
        )
        return response


def _is_foreign(scope: Scope, headers: Headers) -> bool:
    """Whether another site made the browser ask."""
    site = headers.get("sec-fetch-site", "none")
    if site not in {"same-origin", "none"}:
        # A link from elsewhere may lead here, as it may lead to any page.
        followed = headers.get("sec-fetch-mode") == "navigate"
        if not (followed and scope["method"] in _READS):
            return True
    origin = headers.get("origin")
    if origin is None or scope["method"] in _READS:
        return False
    return origin != f"{scope.get('scheme', 'http')}://{headers.get('host', '')}"


def _cookie(headers: Headers, name: str) -> str | None:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return None
    return None if found is None else found.value


def _add_headers(headers: MutableHeaders, *, own_file: bool) -> None:
    for name, value in _HEADERS.items():
        headers[name] = value
    headers.setdefault("content-security-policy", POLICY)
    # Slides and scores are patients': no copy stays in the browser's folder.
    headers.setdefault("cache-control", "no-cache" if own_file else "no-store")


def _refused(status: int, why: str) -> ASGIApp:
    return PlainTextResponse(why + "\n", status_code=status)


def _has_port(header: str) -> bool:
    return header.rpartition(":")[2].isdigit() and not header.endswith("]")
