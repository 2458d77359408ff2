"""Giving a server an order: to drain, to pause, to resume."""

from __future__ import annotations

import contextlib
import os

from ..workers.outside import Boot
from .choosing import choose
from .command import FailedError, Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    import collections.abc as cabc

NOTES = """
exit status: 0 done, 1 no server runs here, or its directory cannot be written, 3 wrong use
"""


def order(options: Options, give: cabc.Callable[[Boot], str]) -> Boot:
    """Has a function give an order to the server that is meant, and prints what it says.

    :raises FailedError: when there is no server, or its directory takes no order.
    """
    boot = choose(options)
    try:
        _become_owner(boot)
        said = give(boot)
    except OSError as error:
        why = error.strerror or str(error)
        raise FailedError(f"{boot.directory.path} cannot be changed: {why}") from None
    with contextlib.suppress(BrokenPipeError):  # It is done, whether or not anybody reads that.
        print(f"{said} (master {boot.master})", flush=True)
    return boot


def _become_owner(boot: Boot) -> None:
    """Has root act as the user of the service, who then owns, and can remove, what is written."""
    owner = os.fstat(boot.directory.fd)
    if os.geteuid() == 0 and owner.st_uid:
        os.setegid(owner.st_gid)
        os.seteuid(owner.st_uid)
