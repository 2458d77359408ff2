"""Registering setup steps and checks: what is wrong with one is said at once, when it is made."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

if t.TYPE_CHECKING:
    from ..model.check import Check
    from .steps import Step

    Registered = t.TypeVar("Registered", Step, Check)


class Registry:
    """The setup steps and the checks of one extension, in order of registration.

    :param begun: whether setup has started in any of its apps: then it is too late for new ones.
    :param fits: raises ValueError for a step or a check that has no place in one of its apps.
    """

    def __init__(
        self, begun: cabc.Callable[[], bool], fits: cabc.Callable[[Step | Check], None]
    ) -> None:
        self._begun = begun
        self._fits = fits
        self._steps: dict[str, Step] = {}
        self._checks: dict[str, Check] = {}

    @property
    def steps(self) -> list[Step]:
        """The setup steps."""
        return list(self._steps.values())

    @property
    def checks(self) -> list[Check]:
        """The checks."""
        return list(self._checks.values())

    def add_step(self, function: object, *options: t.Any) -> None:
        """Registers a setup step; see :func:`make_step`."""
        from .registering import make_step  # Here: an app that registers nothing needs none of it.

        step = make_step(function, *options)
        self._fits(step)
        self._add(self._steps, step, "setup step", "health.setup")

    def add_check(self, function: object, name: str | None, **options: t.Any) -> Check:
        """Registers a check; see :func:`make_check`."""
        from .checking import make_check

        check = make_check(function, name, **options)
        self._fits(check)
        self._add(self._checks, check, "check", "health.check")
        if hasattr(function, "driver_timeout"):
            function.timeout = check.timeout  # type: ignore[attr-defined]
        return check

    def _add(self, known: dict[str, Registered], new: Registered, what: str, how: str) -> None:
        from .registering import same_function

        earlier = known.get(new.name.lower())
        if earlier is None and self._begun():
            raise RuntimeError(
                f"{what.capitalize()} '{new.name}' comes too late: setup has started. Did you "
                "register it inside a view or a setup step?"
            )
        if earlier is not None and not same_function(earlier.function, new.function):
            raise ValueError(
                f"Two {what}s are named '{new.name}'. Did you mean to give one of them another "
                f"name, with @{how}(name=...)?"
            )
        known[new.name.lower()] = new
