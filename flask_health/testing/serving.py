"""A real gunicorn for a test: started on a free port, watched, always ended."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import typing as t

from .waiting import eventually


class Answer(t.NamedTuple):
    """What a server answered.

    :ivar code: the HTTP status code.
    :ivar headers: by name in lower case; of two of one name the last.
    """

    code: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")


class Server:
    """A gunicorn that runs; see :func:`running`.

    :ivar port: the port of 127.0.0.1 that it listens on.
    :ivar pid: the process id of its master.
    """

    def __init__(self, popen: subprocess.Popen[bytes], port: int, log: t.IO[bytes]) -> None:
        self.port = port
        self.pid: int = popen.pid
        self._popen = popen
        self._log = log

    @property
    def url(self) -> str:
        """Where it answers, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """Everything that gunicorn and its workers have written so far."""
        self._log.seek(0)
        return self._log.read().decode("utf-8", "replace")

    @property
    def exit_code(self) -> int | None:
        """The exit status of its master; None while that runs."""
        return self._popen.poll()

    def get(
        self,
        path: str = "/health",
        headers: cabc.Mapping[str, str] | None = None,
        timeout: float = 10.0,
    ) -> Answer:
        """Asks for a path on a connection of its own, so that any worker may answer.

        :param timeout: seconds.
        :raises OSError: when nobody answers.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(connection):
            connection.request("GET", path, headers=dict(headers or {}))
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())

    def wait_until(self, code: int, path: str = "/health", timeout: float = 30.0) -> Answer:
        """Waits until a path is answered with a status code.

        :param timeout: seconds.
        :raises AssertionError: when it is not, with the last answer and the log.
        """

        def ask() -> Answer | None:
            if self.exit_code is not None:
                raise AssertionError(f"gunicorn has ended with {self.exit_code}\n{self.log}")
            try:
                return self.get(path)
            except OSError:
                return None

        try:
            answer = eventually(ask, lambda answer: answer and answer.code == code, timeout)
        except AssertionError as error:
            raise AssertionError(f"{path}: {error}\n{self.log}") from None
        return t.cast(Answer, answer)

    def signal(self, number: int) -> None:
        """Sends a signal to its master, as `signal.SIGHUP` for a reload."""
        self._popen.send_signal(number)

    def stop(self, timeout: float = 30.0) -> int:
        """Ends it in good order.

        :param timeout: seconds after which everything that is left of it is killed.
        :return: the exit status of its master.
        """
        if self.exit_code is None:
            self.signal(signal.SIGTERM)
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            return self._popen.wait()
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)  # Workers that outlived a killed master.


@contextlib.contextmanager
def running(
    app: str = "app:app",
    *options: str,
    workers: int = 2,
    environ: cabc.Mapping[str, str] | None = None,
    directory: str | os.PathLike[str] | None = None,
    timeout: float = 30.0,
) -> cabc.Iterator[Server]:
    """Serves an app with a real gunicorn for as long as the block lasts. Stops without a drain
    delay, and has a state directory of its own, unless `environ` says otherwise.

    :param app: as on gunicorn's command line.
    :param options: of gunicorn's command line.
    :param environ: added to the environment.
    :param directory: where the app is found; default: the current directory.
    :param timeout: seconds within which it has to answer, and later to stop.
    :raises AssertionError: when it does not answer in time, with its log.
    """
    with tempfile.TemporaryDirectory() as state, tempfile.TemporaryFile() as log:
        port = free_port()
        popen = subprocess.Popen(
            [_gunicorn(), "-w", str(workers), "-b", f"127.0.0.1:{port}", *options, app],
            cwd=directory,
            env={
                **os.environ,
                "FLASK_HEALTH_DRAIN_DELAY": "0",
                "FLASK_HEALTH_STATE_DIR": state,
                **(environ or {}),
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        server = Server(popen, port, log)
        try:
            eventually(lambda: _listens(server), bool, timeout)
            yield server
        finally:
            server.stop(timeout)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _gunicorn() -> str:
    beside = os.path.dirname(sys.executable)
    path = os.pathsep.join([beside, os.environ.get("PATH", "")])
    found = shutil.which("gunicorn", path=path)
    if found is None:
        raise RuntimeError("gunicorn is not installed: pip install gunicorn")
    return found


def _listens(server: Server) -> bool:
    if server.exit_code is not None:
        raise AssertionError(f"gunicorn has ended with {server.exit_code}\n{server.log}")
    return "Listening at" in server.log
