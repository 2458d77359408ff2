"""Asking Redis: short timeouts, one clear reason when it does not answer, secrets masked."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import logging
import random
import threading
import typing as t

from ..model.mask import mask
from .scripts import Script

log: logging.Logger = logging.getLogger("flask_health")

PATIENCE = 1.0
"""Seconds that a connection and an answer may take."""

OLDEST = 6
"""The oldest major version of Redis that will do."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0
"""Seconds before it is asked again after a failure: doubled each time, and cut at random by up to
half, so that a thousand servers do not come back at once.
"""

URL_FORM = (
    "must be like redis://user:password@host:6379/0: in a password '/' is written as %2F, '?' as "
    "%3F, '#' as %23"
)
"""What is right, said instead of a URL that could show a part of its password."""


class StoreError(Exception):
    """The store did not do what it was asked; the message is for people, without secrets."""


class Store:
    """A Redis, Valkey or Redis Cluster. It is only ever asked in background threads.

    :param url: `HEALTH_FLEET_URL`.
    :param patience: seconds that a connection and an answer may take.
    :ivar problem: why it did not answer last; empty when it did.
    """

    def __init__(self, url: str, patience: float = PATIENCE) -> None:
        self.problem: str = ""
        self.patience = patience
        self._url = url
        self._client: t.Any = None
        self._connecting = threading.Lock()
        self._failures = 0
        self._random = random.Random()

    def run(
        self, script: Script, keys: cabc.Sequence[str], args: cabc.Sequence[str | int | float]
    ) -> t.Any:
        """What a script returns.

        :raises StoreError: with the reason.
        """
        return self._ask(lambda client: _evaluate(client, script, _encoded(keys), _encoded(args)))

    def command(self, *words: str | int) -> t.Any:
        """What a command returns.

        :raises StoreError: with the reason.
        """
        name, *rest = words
        return self._ask(lambda client: client.execute_command(name, *_encoded(rest)))

    def rows(self, keys: cabc.Sequence[str]) -> list[dict[str, str]]:
        """Several hashes at once; one that is not there is empty.

        :raises StoreError: with the reason.
        """

        def read(client: t.Any) -> list[dict[str, str]]:
            pipeline = client.pipeline(transaction=False)
            for key in _encoded(keys):
                pipeline.hgetall(key)
            return list(pipeline.execute())

        return self._ask(read)  # type: ignore[no-any-return]

    def pause(self) -> float:
        """Seconds to wait before it is asked again; 0 while it answers."""
        if not self.problem:
            return 0.0
        longest: float = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._failures - 1, 10))
        return longest * self._random.uniform(0.5, 1.0)

    def close(self) -> None:
        """Ends its connections."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):
                client.close()

    def _ask(self, ask: cabc.Callable[[t.Any], t.Any]) -> t.Any:
        import redis.exceptions as wrong

        try:
            client = self._connected()
            try:
                answer = ask(client)
            except wrong.MovedError:  # A cluster, and INFO was forbidden.
                client = self._client = _cluster(self._url, self.patience)
                answer = ask(client)
        except StoreError as error:
            raise self._failed(str(error)) from None
        except (wrong.RedisError, wrong.RedisClusterException, OSError, ValueError) as error:
            if isinstance(error, wrong.ReadOnlyError):
                self.close()  # It is no master any more: its address may lead to another by now.
            raise self._failed(explain(error)) from None
        if self.problem:
            log.info("the fleet store answers again")
        self.problem, self._failures = "", 0
        return answer

    def _connected(self) -> t.Any:
        with self._connecting:
            if self._client is None:
                client = _single(self._url, self.patience)
                try:
                    if _is_cluster(client):
                        client.close()
                        client = _cluster(self._url, self.patience)
                except BaseException:
                    client.close()
                    raise
                self._client = client
            return self._client

    def _failed(self, problem: str) -> StoreError:
        if problem != self.problem:
            log.error("the fleet store cannot be asked: %s", problem)
        self.problem = problem
        self._failures += 1
        return StoreError(problem)


def check_url(url: str) -> str:
    """What is wrong with a URL, without connecting to it; empty when nothing is."""
    try:
        import redis
    except ImportError:
        return "needs redis-py: install 'Flask-Health[redis]'"
    try:
        redis.Redis.from_url(url).close()
    except Exception as error:
        return URL_FORM if _is_torn(url) else mask(str(error))
    return URL_FORM if _is_torn(url) else ""


def _is_torn(url: str) -> bool:
    """Whether a URL ends in the middle of its password, which must not be shown then."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return True
    return parts.scheme != "unix" and "@" in parts.path + parts.fragment


def explain(error: Exception) -> str:
    """Why the store did not do what it was asked, for people, without secrets."""
    import redis.exceptions as wrong

    words = mask(str(error)) or type(error).__name__
    for kind, reason in (
        (wrong.NoPermissionError, "its user lacks permission"),
        (wrong.AuthenticationError, "wrong user or password"),
        (wrong.BusyLoadingError, "it is loading its data"),
        (wrong.TimeoutError, "no answer in time"),
        (wrong.ReadOnlyError, "it is a replica"),
    ):
        if isinstance(error, kind):
            return f"{reason} ({words})"
    return words


def _encoded(words: cabc.Iterable[str | int | float]) -> list[t.Any]:
    # Here, as hiredis has no say in it: a reason may name a file that is no UTF-8.
    return [w.encode(errors="backslashreplace") if isinstance(w, str) else w for w in words]


def _evaluate(
    client: t.Any,
    script: Script,
    keys: cabc.Sequence[t.Any],
    args: cabc.Sequence[t.Any],
) -> t.Any:
    import redis.exceptions as wrong

    try:
        return client.evalsha(script.sha, len(keys), *keys, *args)
    except wrong.NoScriptError:
        return client.eval(script.text, len(keys), *keys, *args)


def _single(url: str, patience: float) -> t.Any:
    import redis

    return redis.Redis.from_url(url, **_limits(patience))


def _cluster(url: str, patience: float) -> t.Any:
    import redis

    # Once more after it has asked who the masters are now; all our keys have a single one.
    limits = _limits(patience, attempts=1)
    return redis.RedisCluster.from_url(url, require_full_coverage=False, **limits)


def _limits(patience: float, attempts: int = 0) -> dict[str, t.Any]:
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return {
        "decode_responses": True,
        "encoding_errors": "backslashreplace",  # What others have written may be anything.
        "retry": Retry(NoBackoff(), attempts),  # When to try again is decided here.
        "socket_connect_timeout": patience,
        "socket_timeout": patience,
    }


def _is_cluster(client: t.Any) -> bool:
    """Asks who it is.

    :raises StoreError: for one that is too old.
    """
    import redis.exceptions as wrong

    try:
        info: dict[str, t.Any] = client.info("server")
    except wrong.NoPermissionError:
        return False
    version = str(info.get("redis_version", ""))
    major = version.partition(".")[0]
    if major.isdigit() and int(major) < OLDEST:
        raise StoreError(f"Redis {version} is too old: it must be {OLDEST}.0 or newer")
    return info.get("redis_mode") == "cluster"
