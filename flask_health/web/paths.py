"""Which paths are ours, and keeping them ours."""

from __future__ import annotations

import collections.abc as cabc
import functools
import typing as t

from ..config import PROBES, Config

if t.TYPE_CHECKING:
    import flask

    from ..exceptions import ConfigError
    from ..model.check import Check


def of(config: Config, checks: cabc.Iterable[Check]) -> dict[str, str]:
    """The paths that are always ours, each with the name of its probe, or `info`, `metrics`, `ui`,
    `fleet`.

    :raises ConfigError: for an alias that is the path of another probe, or of a check.
    """
    prefix = config.url_prefix
    ours = {prefix: "health"} | {f"{prefix}/{p}": p for p in PROBES if p != "health"}
    ours |= {f"{prefix}/{what}": what for what in ("info", "metrics", "ui", "fleet")}
    for alias, probe in config.aliases.items():
        path = alias.rstrip("/")
        if ours.setdefault(path, probe) != probe:
            raise _taken(alias, f"the probe '{ours[path]}' answers there")
    for check in checks:
        for path in of_check(prefix, check).keys() & ours.keys():
            raise _taken(path, f"the check '{check.name}' is told there")
    return ours


def _taken(path: str, why: str) -> ConfigError:
    from ..exceptions import ConfigError  # Here: in few apps anything is wrong.

    return ConfigError(f"'HEALTH_ALIASES' must be paths of their own, not {path!r}: {why}.")


def of_check(prefix: str, check: Check) -> dict[str, str]:
    """The paths that tell of one check, each with the name of its probe."""
    return {f"{prefix}/{probe}/{check.name}": probe for probe in check.probes}


def in_environ(path: str) -> str:
    """A path as a WSGI server hands it on in `PATH_INFO`: its bytes read as Latin-1."""
    return path.encode().decode("latin-1")


def check_blueprint(app: flask.Flask, name: str) -> None:
    """Raises ValueError when the app has a blueprint of that name."""
    if name in app.blueprints:
        raise ValueError(
            f"This app has a blueprint named '{name}' already: give ours another name "
            "with HealthCheck(blueprint_name=...)."
        )


def check_room(app: flask.Flask, ours: cabc.Container[str]) -> None:
    """Raises ValueError when a rule of the app is where ours would be."""
    for rule in app.url_map.iter_rules():
        _check(rule.rule, ours)


def keep_room(app: flask.Flask, ours: cabc.Container[str]) -> None:
    """Has the app refuse, at the line that adds it, a later rule for a path of ours.

    :param ours: looked at each time: what is added to it is kept too.
    """
    add = app.add_url_rule

    @functools.wraps(add)
    def add_url_rule(rule: str, *args: t.Any, **kwargs: t.Any) -> None:
        _check(rule, ours)
        add(rule, *args, **kwargs)

    app.add_url_rule = add_url_rule  # type: ignore[method-assign]


def _check(rule: str, ours: cabc.Container[str]) -> None:
    if rule.rstrip("/") in ours:
        raise ValueError(
            f"The rule '{rule}' would never be reached: HealthCheck answers there. Remove it, "
            "rename the check if it is one's path, or move the probes with HEALTH_URL_PREFIX or "
            "HEALTH_ALIASES."
        )
