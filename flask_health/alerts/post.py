"""Sending one message. Imported with the first that is to be sent."""

from __future__ import annotations

import base64
import http.client
import typing as t
import urllib.error
import urllib.parse
import urllib.request

TIMEOUT = 5.0
"""Seconds that a receiver may take for each step."""

LATER = {408, 425, 429}
"""Codes of the client's that say: try again."""


class Answer(t.NamedTuple):
    """What came of a try.

    :ivar why: what went wrong, for people; empty when nothing did.
    :ivar final: whether another try would come to the same.
    :ivar retry_after: seconds that the receiver asks to wait.
    """

    why: str = ""
    final: bool = False
    retry_after: float = 0.0


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the message, and what is in the URL, to a place that nobody chose."""

    def redirect_request(self, *args: t.Any) -> None:
        return None


def post(url: str, body: bytes, timeout: float = TIMEOUT) -> Answer:
    """Sends a message; never raises. Proxies of the environment are used, and the certificate of an
    https URL is verified.
    """
    url, credentials = _split_credentials(url)
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    request.add_header("User-Agent", "Flask-Health")
    if credentials:
        request.add_unredirected_header("Authorization", credentials)
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout):
            return Answer()
    except urllib.error.HTTPError as error:
        with error:
            return _refusal(error)
    except urllib.error.URLError as error:
        return Answer(_words(error.reason))
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Answer(_words(error))


def _refusal(error: urllib.error.HTTPError) -> Answer:
    if 300 <= error.code < 400:
        return Answer(f"{error.code}, a redirect, which is not followed", final=True)
    final = 400 <= error.code < 500 and error.code not in LATER
    given = error.headers.get("Retry-After", "")
    wait = float(given) if given.isascii() and given.isdigit() else 0.0
    return Answer(f"answered with {error.code}", final, wait)


def _words(error: object) -> str:
    """What went wrong, without the URL: its path is a secret."""
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return type(error).__name__


def _split_credentials(url: str) -> tuple[str, str]:
    """A URL without its user and password, and the header that says them."""
    parts = urllib.parse.urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, ""
    said = base64.b64encode(urllib.parse.unquote_to_bytes(user)).decode()
    return parts._replace(netloc=host).geturl(), f"Basic {said}"
