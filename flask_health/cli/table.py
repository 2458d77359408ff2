"""The commands, and running the one that is meant.

A command is a file of this directory with a `COMMAND` in it, and a line in the table below.
"""

from __future__ import annotations

import os
import sys

from .command import BAD, GOOD, INTERRUPTED, WRONG_USE, Command, FailedError, WrongUse, nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    import collections.abc as cabc
    import typing as t

    import flask

COMMANDS = {
    "check": "ask one probe, once",
    "wait": "wait until a server is ready",
    "status": "show everything about the server that runs here",
    "fleet": "show all servers that share a fleet store",
    "drain": "turn readiness red for good",
    "pause": "turn readiness red until 'resume'",
    "resume": "end a pause",
    "doctor": "find what will go wrong in the configuration (flask health)",
    "manifest": "print a deployment file that fits the app (flask health)",
}
"""Every command with what it does: shown without loading any of them."""


def run(words: cabc.Sequence[str], program: str, app: flask.Flask | None = None) -> int:
    """Runs a command line.

    :param words: what follows the program's name.
    :param program: how the program is called, for messages.
    :param app: the app of `flask health`.
    :return: the exit status.
    """
    _prepare()
    status = BAD
    try:
        status = _run(list(words), program, app)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        pass  # Who reads our output has seen enough. What has come to no verdict is not good.
    except OSError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return status or BAD
    finally:
        _flush()
    return status


def _run(words: list[str], program: str, app: flask.Flask | None) -> int:
    if not words or words[0] in ("--help", "-h", "help"):
        print(overview(program))
        return GOOD if words else WRONG_USE
    name = words.pop(0)
    if name not in COMMANDS:
        print(f"{program}: there is no command {name!r}{nearest(name, COMMANDS)}", file=sys.stderr)
        return WRONG_USE
    command = load(name)
    if _wants_help(words):
        print(command.help(f"{program} {name}"))
        return GOOD
    try:
        options = command.read(words, os.environ)
        options.flask_app = app
        return command.run(options)
    except WrongUse as wrong:
        print(f"{program} {name}: {wrong}", file=sys.stderr)
        return WRONG_USE
    except FailedError as failed:
        print(f"{program} {name}: {failed}", file=sys.stderr)
        return BAD


def load(name: str) -> Command:
    """A command by its name."""
    # Not importlib.import_module: the module importlib alone takes a millisecond.
    module: t.Any = __import__(f"{__package__}.{name}", fromlist=["COMMAND"])
    command: Command = module.COMMAND
    return command


def overview(program: str) -> str:
    """The text of `--help` without a command."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {summary}" for name, summary in COMMANDS.items()]
    more = f"'{program} COMMAND --help' tells more of a command."
    return "\n".join([f"usage: {program} COMMAND ...", "", "commands:", *lines, "", more])


def _wants_help(words: list[str]) -> bool:
    ours = words[: words.index("--")] if "--" in words else words
    return "--help" in ours or "-h" in ours


def _prepare() -> None:
    """Has a standard output that takes every text, and all of it at the end: neither a letter that
    it does not know nor a reader that has gone comes between a command and its verdict.
    """
    if sys.stdout is None:  # It was closed before we began.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    elif hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace", write_through=False)


def _flush() -> None:
    """Writes what is left, and lets nobody complain when there is no reader any more."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        except (AttributeError, ValueError):
            pass  # It was closed before we began.
