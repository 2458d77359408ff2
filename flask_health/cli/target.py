"""Which server is asked: a URL, a unix socket, or the state directory of this host."""

from __future__ import annotations

from .command import WrongUse

PREFIX = "/health"
FORMS = "http[s]://HOST[:PORT][/PREFIX], HOST:PORT[/PREFIX], :PORT or unix:PATH[:/PREFIX]"


class Target:
    """A server that is asked over HTTP.

    :ivar host: its name or address, empty for a unix socket.
    :ivar socket: the path of the unix socket, else empty.
    :ivar prefix: where its probes live.
    """

    def __init__(
        self, host: str, port: int, prefix: str = "", tls: bool = False, socket: str = ""
    ) -> None:
        self.host = host
        self.port = port
        self.tls = tls
        self.socket = socket
        self.prefix: str = prefix.rstrip("/") or PREFIX

    @property
    def authority(self) -> str:
        """What its `Host` header says."""
        if self.socket:
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    def path(self, probe: str) -> str:
        """The path of a probe."""
        return self.prefix if probe == "health" else f"{self.prefix}/{probe}"

    def url(self, probe: str) -> str:
        """The same for people."""
        if self.socket:
            return f"unix:{self.socket}:{self.path(probe)}"
        return f"{'https' if self.tls else 'http'}://{self.authority}{self.path(probe)}"


def parse(text: str) -> Target:
    """The target that a text means.

    :raises WrongUse: saying which forms there are.
    """
    if any(letter <= " " for letter in text):
        raise _wrong(text)
    if text.startswith("unix:"):
        socket, colon, prefix = text[5:].removeprefix("//").partition(":")
        if socket and prefix.startswith("/") is bool(colon):
            return Target("", 0, prefix, socket=socket)
        raise _wrong(text)
    scheme, given, rest = text.partition("://")
    if not given:
        scheme, rest = "http", text
    authority, slash, prefix = rest.partition("/")
    if "@" in authority:
        raise WrongUse("a URL holds no password here: give it with --token")
    if "?" in rest or "#" in rest:
        raise WrongUse(f"the target must end with the prefix of the probes, not {text!r}")
    host, port = _address(authority)
    named = bool(given and host)
    if scheme.lower() not in ("http", "https") or port < 0 or not (port or named):
        raise _wrong(text)
    tls = scheme.lower() == "https"
    return Target(host or "127.0.0.1", port or (443 if tls else 80), slash + prefix, tls)


def _address(authority: str) -> tuple[str, int]:
    """Host and port; the port is 0 when there is none, and -1 when it or the host is wrong."""
    host, colon, port = authority.rpartition(":")
    if not colon or port.endswith("]"):  # `example.org`, `[::1]`
        host, colon, port = authority, "", ""
    bracketed = host.startswith("[") and host.endswith("]")
    if ":" in host and not bracketed:
        return "", -1
    if not colon:
        return host.strip("[]"), 0
    right = port.isascii() and port.isdigit() and 0 < int(port) < 65536
    return host.strip("[]"), int(port) if right else -1


def _wrong(text: str) -> WrongUse:
    return WrongUse(f"the target must be {FORMS}, not {text!r}")
