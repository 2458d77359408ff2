"""gunicorn's configuration as gunicorn itself reads it, without starting it.

Lowest first: its defaults, its configuration file (a given one, else `gunicorn.conf.py` in the
current directory), `GUNICORN_CMD_ARGS`, a command line. The file is run, as gunicorn would.
"""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import io
import os
import typing as t

from .command import WrongUse
from .facts import Gunicorn


class Missing(Exception):
    """gunicorn cannot be imported here, or is not what it was; the message says so."""


def read(words: cabc.Sequence[str], file: str | None = None) -> Gunicorn:
    """The settings that gunicorn would have.

    :param words: a command line of gunicorn, without its name; `-c` in it is `file`.
    :param file: a configuration file, or `python:module`.
    :raises Missing: without gunicorn.
    :raises WrongUse: with gunicorn's own words, for a configuration that it would refuse.
    """
    try:
        import gunicorn
        from gunicorn.app.base import Application
        from gunicorn.config import get_default_config_file
    except ImportError as error:
        raise Missing(f"gunicorn cannot be imported here: {error}") from None

    class Reader(Application):  # type: ignore[misc, unused-ignore]
        """Reads and does nothing else: the original also changes directory, and exits."""

        def do_load_config(self) -> None:
            self.load_default_config()

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            reader = Reader(prog="gunicorn")
            parser = reader.cfg.parser()
            line = parser.parse_args(list(words))
            environ = parser.parse_args(reader.cfg.get_cmd_args_from_env())
            chosen = file or line.config or environ.config or get_default_config_file() or ""
            if chosen:
                reader.load_config_from_file(chosen)
            for given in (environ, line):
                for name, value in vars(given).items():
                    if value is not None and name not in ("args", "config"):
                        reader.cfg.set(name.lower(), value)
    except (Exception, SystemExit) as error:
        reason = said.getvalue().strip() or str(error)
        raise WrongUse(f"gunicorn refuses its configuration: {reason.splitlines()[-1]}") from None
    named = [*line.args, *environ.args, getattr(reader.cfg, "wsgi_app", None)]
    return _settings(reader.cfg, str(gunicorn.__version__), next(filter(None, named), ""), chosen)


def _settings(cfg: t.Any, version: str, wsgi_app: str, file: str) -> Gunicorn:
    bind = (cfg.bind,) if isinstance(cfg.bind, str) else tuple(cfg.bind)
    return Gunicorn(
        version=numbers(version),
        workers=cfg.workers,
        worker_class=cfg.worker_class_str,
        threads=cfg.threads,
        timeout=float(cfg.timeout),
        graceful_timeout=float(cfg.graceful_timeout),
        preload=bool(cfg.preload_app),
        reuse_port=bool(cfg.reuse_port),
        max_requests=cfg.max_requests,
        bind=bind,
        worker_tmp_dir=cfg.worker_tmp_dir,
        installed=hasattr(cfg.post_worker_init, "_flask_health_hook"),
        wsgi_app=wsgi_app,
        file=_near(file),
    )


def _near(file: str) -> str:
    """A path as one writes it in the directory that it is in."""
    here = os.path.join(os.getcwd(), "")
    return file.removeprefix(here)


def numbers(version: str) -> tuple[int, ...]:
    """The numbers that a version begins with: `26.0.0rc1` gives 26, 0, 0."""
    found = []
    for part in version.split("."):
        digits = "".join(c for i, c in enumerate(part) if part[: i + 1].isdigit())
        if not digits:
            break
        found.append(int(digits))
    return tuple(found)
