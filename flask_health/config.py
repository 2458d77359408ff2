"""Every `HEALTH_*` key: its default, its unit, what is right, and reading them all at once."""

from __future__ import annotations

import collections.abc as cabc
import logging
import math
import os
import types
import typing as t

log: logging.Logger = logging.getLogger("flask_health")

PROBES = ("health", "live", "ready", "startup")


class Wrong(Exception):
    """A value is not right; the message says what would be."""


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise Wrong("a text that is not empty")
    return value


def _path_prefix(value: object) -> str:
    if not isinstance(value, str) or not value.startswith("/") or value.endswith("/"):
        raise Wrong("a path such as '/health' that starts with '/' and does not end with it")
    if any(character in value for character in "<>?# "):
        raise Wrong("a plain path such as '/health', without converters, query or spaces")
    return value


def _absolute(value: object) -> str:
    path = os.fspath(value) if isinstance(value, (str, os.PathLike)) else ""
    if not isinstance(path, str) or not os.path.isabs(path) or "\0" in path:
        raise Wrong("the absolute path of a directory")
    return path


def _flag(value: object) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if isinstance(value, bool):
        return value
    if value in (0, 1):
        return bool(value)
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    raise Wrong("True or False")


def _seconds(value: object, right: str = "a number of seconds >= 0") -> float:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            value = None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise Wrong(right)
    if math.isinf(value):
        raise Wrong("a finite number of seconds")
    return float(value)


def _positive_seconds(value: object) -> float:
    right = "a number of seconds > 0"
    seconds = _seconds(value, right)
    if not seconds:
        raise Wrong(right)
    return seconds


def _count(value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise Wrong("a whole number >= 1")
    return value


def _share(value: object) -> float:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            value = None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise Wrong("a share from 0, which is off, to less than 1")
    return float(value)


def _one_of(*words: str) -> cabc.Callable[[object], str]:
    def parse(value: object) -> str:
        if not isinstance(value, str) or value not in words:
            raise Wrong("one of " + ", ".join(repr(word) for word in words))
        return value

    return parse


def _format(name: str) -> cabc.Callable[[object], object]:
    """A parser of :mod:`.formats`, which is loaded when there is something to parse."""

    def parse(value: object) -> object:
        from . import formats

        return getattr(formats, name)(value)

    return parse


class Config:
    """The configuration of one app, read once by `init_app`. Durations are in seconds.

    :ivar gate_timeout: how long a business request may wait; None: 0 in a worker of a pre-fork
        server, 30 s in a server of one.
    :ivar drain_delay: how long readiness is red before a server stops; None: 5 s, and 0 under
        `TESTING` and in debug mode.
    :ivar workers: the number of workers of a server that cannot be asked; None: ask it.
    :ivar listen: where the second port is; None: nowhere.
    :ivar stall_after: after how long without a movement a worker is stalled; None: gunicorn's
        timeout, 30 s elsewhere.
    """

    url_prefix: str = "/health"
    aliases: cabc.Mapping[str, str] = types.MappingProxyType({})
    state_dir: str | None = None
    workers: int | None = None
    gate: bool = True
    gate_timeout: float | None = None
    gate_exempt: tuple[str, ...] = ()
    setup_timeout: float | None = None
    exit_on_setup_failure: bool = False
    hold: t.Literal["siblings", "always", "never"] = "siblings"
    min_workers: int = 1
    drain_delay: float | None = None
    listen: str | None = None
    stall_after: float | None = None
    details: t.Literal["authorized", "always", "never"] = "authorized"
    token: str | None = None
    version: str | None = None
    service: str | None = None
    description: str | None = None
    links: cabc.Mapping[str, str] = types.MappingProxyType({})
    webhook_url: str | None = None
    fleet_url: str | None = None
    fleet_required: bool = True
    fleet_panic: float = 0.0
    fleet_panic_min: int = 5

    def __init__(self, **values: t.Any) -> None:
        # A plain class: a named tuple of as many fields takes 20 KiB of every worker.
        vars(self).update(values)

    def __setattr__(self, name: str, value: object) -> t.NoReturn:
        raise AttributeError(f"the configuration is frozen: {name!r} stays as it is")

    def __repr__(self) -> str:
        shown = {name: getattr(self, name) for name in PARSERS}
        return f"Config{shown | {name: '***' for name in SECRET if shown[name]}}"


PARSERS: dict[str, cabc.Callable[[object], object]] = {
    "url_prefix": _path_prefix,
    "aliases": _format("aliases"),
    "state_dir": _absolute,
    "workers": _count,
    "gate": _flag,
    "gate_timeout": _seconds,
    "gate_exempt": _format("prefixes"),
    "setup_timeout": _positive_seconds,
    "exit_on_setup_failure": _flag,
    "hold": _one_of("siblings", "always", "never"),
    "min_workers": _count,
    "drain_delay": _seconds,
    "listen": _format("address"),
    "stall_after": _positive_seconds,
    "details": _one_of("authorized", "always", "never"),
    "token": _text,
    "version": _text,
    "service": _text,
    "description": _text,
    "links": _format("texts"),
    "webhook_url": _format("web_address"),
    "fleet_url": _format("store"),
    "fleet_required": _flag,
    "fleet_panic": _share,
    "fleet_panic_min": _count,
}
SECRET = {"token", "webhook_url", "fleet_url"}
OPTIONAL = {name for name in PARSERS if getattr(Config, name) is None}


def read(config: cabc.Mapping[str, object], environ: cabc.Mapping[str, str]) -> Config:
    """The configuration in an app's config, and for keys that it lacks in the environment.

    A text key that `from_prefixed_env()` has turned into something else is taken verbatim from
    the environment: `FLASK_HEALTH_VERSION=1.10` is not the number 1.1.

    :raises ConfigError: naming every key that is wrong, its value, and what would be right.
    """
    values: dict[str, t.Any] = {}
    wrong = []
    for name, parse in PARSERS.items():
        key = f"HEALTH_{name.upper()}"
        found = _find(key, parse, config, environ)
        if found is None and (key not in config or name in OPTIONAL):
            continue
        try:
            values[name] = parse(found)
        except Wrong as right:
            shown = "which it is not" if name in SECRET else f"not {found!r}"
            wrong.append(f"'{key}' must be {right}, {shown}.")
    listens = "listen" in values or any("'HEALTH_LISTEN'" in line for line in wrong)
    if values.get("hold") == "always" and not listens:
        wrong.append(
            "'HEALTH_HOLD' must be 'siblings' or 'never' without 'HEALTH_LISTEN', not 'always': "
            "nothing would answer probes while workers start."
        )
    if wrong:
        from .exceptions import ConfigError  # Here: in few apps anything is wrong.

        raise ConfigError("\n".join(wrong))
    _warn_of_near_misses(config)
    return Config(**values)


def _find(
    key: str,
    parse: cabc.Callable[[object], object],
    config: cabc.Mapping[str, object],
    environ: cabc.Mapping[str, str],
) -> object:
    in_environ = environ.get(f"FLASK_{key}")
    if key not in config or (
        parse is _text and in_environ is not None and not isinstance(config[key], str)
    ):
        return in_environ
    return config[key]


def _warn_of_near_misses(config: cabc.Mapping[str, object]) -> None:
    ours = [f"HEALTH_{name.upper()}" for name in PARSERS]
    for key in config:
        if key.startswith("HEALTH_") and key not in ours and key not in _warned:
            from .formats import edits  # Here: few apps have a key that is not ours.

            near = min(ours, key=lambda our: edits(key, our))
            if edits(key, near) <= 2:
                _warned.add(key)
                log.warning("'%s' is not a key of Flask-Health: did you mean '%s'?", key, near)


_warned: set[str] = set()
