"""How long a server's TLS certificate is still valid."""

from __future__ import annotations

import ssl
import time
import typing as t

from ..exceptions import Degraded
from ._tcp import address, connect, port_number
from .readymade import Deadline, ReadyMade, number, text

DAY = 86400.0


class certificate(ReadyMade):
    """Passes while the certificate that `host:port` shows is valid; observes the days left.

    It connects as a client does: a certificate that clients refuse (expired, for another name,
    from an unknown authority) fails. The days are those of the server's own certificate, not
    those of the authorities above it. Failing before the last day turns a warning into an outage
    when the check is critical: that is why `fail_days` is 0. Looking up a name is not bounded
    by the timeout.

    :param warn_days: fewer days left are degraded.
    :param fail_days: fewer days left fail.
    :param server_name: the name that is asked for and must be in the certificate, when `host`
        is another, such as an address.
    :param context: TLS settings, such as one that knows a private certificate authority.
    """

    measurement: str = "timeToExpiry"

    def __init__(
        self,
        host: str,
        port: int = 443,
        *,
        warn_days: float = 14.0,
        fail_days: float = 0.0,
        server_name: str | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._host = text("host", host)
        self._port = port_number(port)
        self._warn_days = number("warn_days", warn_days)
        self._fail_days = number("fail_days", fail_days)
        if not 0 <= self._fail_days <= self._warn_days:
            raise ValueError(
                f"'fail_days' must be between 0 and 'warn_days' ({warn_days:g}), not {fail_days:g}."
            )
        self._server_name = self._host if server_name is None else text("server_name", server_name)
        if context is not None and (
            not isinstance(context, ssl.SSLContext) or context.verify_mode is ssl.CERT_NONE
        ):
            raise TypeError(f"'context' must be a verifying ssl.SSLContext, not {context!r}.")
        self.context = context

    def __call__(self) -> tuple[float, str]:
        """Days until the certificate expires; raises when it is not accepted."""
        what = f"certificate of {self._server_name} at {address(self._host, self._port)}"
        with self._asking(what):
            expires = self._expires()
            days = (expires - time.time()) / DAY
            date = time.strftime("%Y-%m-%d", time.gmtime(expires))
            told = f"{days:.1f} days left, until {date}, fewer than"
            if days < self._fail_days:
                raise ValueError(f"{told} {self._fail_days:g}")
            if days < self._warn_days:
                raise Degraded(f"{what}: {told} {self._warn_days:g}")
        return round(days, 3), "days"

    def _expires(self) -> float:
        """When the certificate expires, in seconds since the epoch."""
        deadline = Deadline(self.driver_timeout)
        context = self.context or ssl.create_default_context()
        with connect(self._host, self._port, deadline) as sock:
            sock.settimeout(deadline.left())
            try:
                with context.wrap_socket(sock, server_hostname=self._server_name) as tls:
                    found = t.cast("dict[str, str]", tls.getpeercert())
            except ssl.SSLCertVerificationError as error:
                raise ValueError(f"not accepted: {error.verify_message}") from None
        return ssl.cert_time_to_seconds(found["notAfter"])
