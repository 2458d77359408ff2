"""What the checks of this server have to do with other servers."""

from __future__ import annotations

import collections.abc as cabc

from ..model.check import Check, History


class Abroad:
    """What other servers know of the checks; this one knows of no other server.

    :ivar panics: the checks whose failure is only warned of, each with the reason, for people.
    """

    panics: cabc.Mapping[str, str] = {}

    def may_run(self, check: Check, history: History | None, now: float) -> bool:
        """Whether this server is to run a check with `scope="fleet"` now.

        :param history: what is known of it.
        """
        return True

    def ran(self, check: Check, history: History, due_in: float) -> None:
        """This server has run a check with `scope="fleet"`.

        :param due_in: seconds until it has to be run again.
        """

    def news(self) -> cabc.Mapping[str, History]:
        """What other servers have found out since this was asked last."""
        return {}
