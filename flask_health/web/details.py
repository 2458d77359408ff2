"""Who may see details: names, reasons, workers."""

from __future__ import annotations

import base64
import binascii
import collections.abc as cabc
import hmac
import inspect
import logging
import typing as t

import flask

from ..config import Config

if t.TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

log: logging.Logger = logging.getLogger("flask_health")


class TokenDetails:
    """The rule where no app is asked: what `HEALTH_DETAILS` and `HEALTH_TOKEN` say."""

    def __init__(self, config: Config) -> None:
        self._config = config

    @property
    def hidden_from_all(self) -> bool:
        """Whether nobody may see details, whatever is sent."""
        by_token = self._config.details == "authorized" and self._config.token is None
        return by_token or self._config.details == "never"

    def visible_to(self, environ: WSGIEnvironment) -> bool:
        """Whether the sender of a request may see details."""
        if self._config.details != "authorized":
            return self._config.details == "always"
        return self._has_token(environ)

    def _has_token(self, environ: WSGIEnvironment) -> bool:
        token = self._config.token
        scheme, _, given = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        # A server hands the bytes of a header on as Latin-1.
        sent = given.strip().encode("latin-1", "replace")
        if scheme.lower() == "basic":
            sent = _basic_password(sent)
        elif scheme.lower() != "bearer":
            return False
        # Compared as bytes, in constant time: text that is not ASCII would raise.
        return token is not None and hmac.compare_digest(
            sent, token.encode("utf-8", "surrogateescape")
        )


class Details(TokenDetails):
    """The rule of one app; see `HEALTH_DETAILS`.

    With neither a token nor a function that authorizes, nobody sees details except in debug mode:
    a loopback address proves nothing behind a proxy.
    """

    def __init__(
        self,
        app: flask.Flask,
        config: Config,
        authorize: cabc.Callable[[], cabc.Callable[[flask.Request], bool] | None],
    ) -> None:
        super().__init__(config)
        self._app = app
        self._authorize = authorize
        self._complained = False

    @property
    def hidden_from_all(self) -> bool:
        """Whether nobody may see details, whatever is sent."""
        return self._config.details == "never"

    def visible_to(self, environ: WSGIEnvironment) -> bool:
        """Whether the sender of a request may see details."""
        if self._config.details != "authorized" or self._has_token(environ):
            return self._config.details != "never"
        authorize = self._authorize()
        if self._config.token is None and authorize is None:
            return self._app.debug
        return authorize is not None and self._is_authorized(authorize, environ)

    def _is_authorized(
        self, authorize: cabc.Callable[[flask.Request], bool], environ: WSGIEnvironment
    ) -> bool:
        try:
            with self._app.request_context(environ):
                answer = self._app.ensure_sync(authorize)(flask.request)
                if inspect.iscoroutine(answer):  # It is true, and has decided nothing.
                    answer.close()
                    raise TypeError(f"{authorize!r} returned a coroutine: make it an 'async def'")
                return bool(answer)
        except Exception:
            if not self._complained:
                log.exception("the function that authorizes details raised: they stay hidden")
            self._complained = True
            return False


def _basic_password(encoded: bytes) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True).partition(b":")[2]
    except binascii.Error:
        return b""
