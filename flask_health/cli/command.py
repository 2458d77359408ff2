"""What a command is: its options, its help, and reading its words.

By hand, because an exec probe runs every second: `argparse` alone takes as long as Python itself.
Modules that `check` loads import neither `typing` nor `enum` nor `re`, for the same reason.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import collections.abc as cabc
    import typing as t

    import flask

GOOD = 0
BAD = 1
WRONG_USE = 3
"""Never 2: Docker reserves it."""
INTERRUPTED = 130

WIDTH = 100
"""Columns of a help text."""

MOST = 4096
"""Bytes that are written where nobody looks on, so that logs and agents keep all of it."""


class WrongUse(Exception):
    """The command cannot be run as it was called; the message says what would be right."""


class FailedError(Exception):
    """The command cannot do what it should; the message says why."""


class Option:
    """An option of a command.

    :param name: as it is written, with its dashes.
    :param help: what it does, for people.
    :param value: the name of its value, in the help: `SECONDS`. In brackets, `[DIR]`: the value may
        be left out, and is "" then. Empty: the option has none, and is a flag.
    :param parse: makes the value of the text; its ValueError says what would be right.
    :param default: what it is when it is not given; flags are False.
    :param environ: a variable that it is taken from when it is not given.
    """

    def __init__(
        self,
        name: str,
        help: str,
        value: str = "",
        parse: cabc.Callable[[str], object] = str,
        default: object = None,
        environ: str = "",
    ) -> None:
        self.name = name
        self.help = help
        self.value = value
        self.parse = parse
        self.default = default if value else False
        self.environ = environ

    @property
    def attribute(self) -> str:
        """Its name among the options that were read."""
        return self.name.lstrip("-").replace("-", "_")


class Options:
    """What was given to a command, its options by their names: `--expect-version` is
    `expect_version`.

    :ivar words: what was given besides options.
    :ivar flask_app: the Flask app, when called as `flask health`; else None.
    """

    words: list[str]
    flask_app: flask.Flask | None = None

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> t.Any: ...


class Command:
    """A command of `flask-health`.

    :param run: does it, and returns the exit status.
    :param usage: what it takes besides options, in the help: `[TARGET]`.
    :param summary: what it does, in a line.
    :param options: its options.
    :param most: how many words it takes besides options.
    :param notes: more help: examples, exit statuses.
    """

    def __init__(
        self,
        run: cabc.Callable[[Options], int],
        usage: str,
        summary: str,
        options: cabc.Sequence[Option] = (),
        most: int = 0,
        notes: str = "",
    ) -> None:
        self.run = run
        self.usage = usage
        self.summary = summary
        self.options = options
        self.most = most
        self.notes = notes

    def read(self, words: cabc.Sequence[str], environ: cabc.Mapping[str, str]) -> Options:
        """The options in the words of a command line.

        :raises WrongUse: naming the option, its value, and what would be right.
        """
        options = Options()
        options.words = []
        given = vars(options)
        known = {option.name: option for option in self.options}
        for option in self.options:
            text = environ.get(option.environ) if option.environ else None
            given[option.attribute] = option.default if text is None else _parse(option, text)
        rest = list(words)
        while rest:
            word = rest.pop(0)
            if word == "--":
                options.words += rest
                break
            if not word.startswith("-") or word == "-":
                options.words.append(word)
                continue
            name, has_value, value = word.partition("=")
            found = known.get(name)
            if found is None:
                raise WrongUse(f"there is no option {name!r}{nearest(name, known)}")
            given[found.attribute] = _value(found, rest, value if has_value else None)
        if len(options.words) > self.most:
            raise WrongUse(f"{options.words[self.most]!r} is one argument too many")
        return options

    def help(self, program: str) -> str:
        """The text of `--help`."""
        from textwrap import wrap

        lines = [f"usage: {program} {self.usage}".rstrip(), "", self.summary]
        shown = [(f"{o.name} {o.value}".rstrip(), _describe(o)) for o in self.options]
        shown.append(("--help", "show this"))
        width = max(len(left) for left, _ in shown)
        lines += ["", "options:"]
        for left, right in shown:
            first, *more = wrap(right, WIDTH - width - 4)
            lines += [f"  {left:{width}}  {first}", *(f"{'':{width + 4}}{line}" for line in more)]
        return "\n".join([*lines, "", self.notes.strip("\n")]).rstrip("\n")


def nearest(word: str, known: cabc.Iterable[str]) -> str:
    """A question for what was meant, empty when nothing is near."""
    from difflib import get_close_matches  # Only after a mistake: it takes its time.

    near = get_close_matches(word, list(known), 1)
    return f": did you mean {near[0]!r}?" if near else ""


def clipped(line: str, most: int) -> str:
    """A line of at most so many bytes: its beginning, where it is longer."""
    whole = line.encode("utf-8", "replace")
    return line if len(whole) <= most else whole[: most - 3].decode("utf-8", "ignore") + "…"


def seconds(text: str) -> float:
    """A number of seconds > 0, for :class:`Option`."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e9:
        raise ValueError("a number of seconds > 0")
    return value


def whole(text: str) -> int:
    """A whole number > 0, for :class:`Option`."""
    if not (text.isascii() and text.isdigit() and int(text)):
        raise ValueError("a whole number > 0")
    return int(text)


def one_of(*words: str) -> cabc.Callable[[str], str]:
    """One of some words, for :class:`Option`."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError("one of " + ", ".join(words))
        return text

    return parse


def _value(option: Option, rest: list[str], value: str | None) -> object:
    """The value of an option that was given, taken from the words after it if need be."""
    if not option.value:
        if value is not None:
            raise WrongUse(f"{option.name} takes no value, not {value!r}")
        return True
    if value is None:
        follows = bool(rest) and (not rest[0].startswith("-") or rest[0] == "-")
        if not follows and option.value.startswith("["):
            return ""
        if not follows:
            raise WrongUse(f"{option.name} needs a value: {option.name} {option.value}")
        value = rest.pop(0)
    return _parse(option, value)


def _parse(option: Option, text: str) -> object:
    try:
        return option.parse(text)
    except ValueError as right:
        raise WrongUse(f"{option.name} must be {right}, not {text!r}") from None


def _describe(option: Option) -> str:
    default = option.default
    shown = f"{default:g}" if isinstance(default, float) else default
    known = "" if default in (None, False, "") else f"; default: {shown}"
    environ = f"; or {option.environ} in the environment" if option.environ else ""
    return option.help + known + environ
