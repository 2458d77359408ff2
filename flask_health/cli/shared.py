"""The options that several commands have."""

from __future__ import annotations

from .command import Option, Options, WrongUse, one_of, whole

PROBES = ("health", "live", "ready", "startup")
PROBE = Option("--probe", f"which one: {', '.join(PROBES)}", "PROBE", one_of(*PROBES), "health")
EXPECT_VERSION = Option("--expect-version", "fail unless the server is of this version", "VERSION")
TOKEN = Option("--token", "shows the details of a server", "TOKEN", environ="FLASK_HEALTH_TOKEN")
STATE = Option("--state", "where the server's state is; default: wherever it may be", "[DIR]")
PID = Option(
    "--pid", "the process id of the server's master, where several servers run", "PID", whole
)
APP = Option("--app", "the name of the app, where several servers run", "NAME")
CHOICE = (STATE, PID, APP)


def check_choice(options: Options) -> None:
    """Raises WrongUse when a server is asked over HTTP, and chosen among those of this host too."""
    for option in CHOICE if options.words else ():
        if getattr(options, option.attribute) is not None:
            raise WrongUse(f"{option.name} is for a server of this host: leave the target out")
