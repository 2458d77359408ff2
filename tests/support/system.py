"""The system packages that some tests need, and the words of their skips.

`python tests/support/system.py` prints all of them, for `apt-get install`.
"""

from __future__ import annotations

import shutil
from glob import glob
from typing import NamedTuple


class Need(NamedTuple):
    """What tests need: Debian packages, and the programs and files that show they are there.

    A file may be a pattern, as of `glob`. `besides` is the command that installs what Debian lacks.
    """

    packages: tuple[str, ...]
    programs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    besides: str = ""

    @property
    def is_met(self) -> bool:
        """Tell whether everything is there."""
        path = "/usr/sbin:/usr/bin:/sbin:/bin"  # Debian keeps apache2 off a user's PATH
        found = [shutil.which(name) or shutil.which(name, path=path) for name in self.programs]
        return all(found) and all(map(glob, self.files))

    @property
    def apt_get(self) -> str:
        """The command that installs it."""
        besides = f"; {self.besides}" if self.besides else ""
        return f"apt-get install --no-install-recommends {' '.join(self.packages)}{besides}"


MOD_WSGI = Need(
    ("apache2-bin", "libapache2-mod-wsgi-py3"),
    programs=("apache2",),
    files=("/usr/lib/apache2/modules/mod_wsgi.so",),
)
NAMESPACES = Need(("mount", "util-linux"), programs=("mount", "unshare"))
POSTGRESQL = Need(
    ("postgresql", "util-linux"),
    programs=("setpriv",),
    files=("/usr/lib/postgresql/*/bin/postgres", "/usr/lib/postgresql/*/bin/initdb"),
)
REDIS = Need(("redis-server", "util-linux"), programs=("redis-server", "setpriv"))
MEMCACHED = Need(("memcached", "util-linux"), programs=("memcached", "setpriv"))
RABBITMQ = Need(
    ("rabbitmq-server", "util-linux"),
    programs=("epmd", "setpriv"),
    files=("/usr/lib/rabbitmq/bin/rabbitmq-server",),
)
CURL = Need(("curl",), programs=("curl",))
HAPROXY = Need(("haproxy",), programs=("haproxy",))
NGINX = Need(("nginx",), programs=("nginx",))
PROMETHEUS = Need(("prometheus",), programs=("promtool",))
SYSTEMD = Need(("systemd",), programs=("systemd-analyze",))
CHROMIUM = Need(("chromium", "fonts-dejavu-core"), programs=("chromium",))
ALL = (
    MOD_WSGI,
    NAMESPACES,
    POSTGRESQL,
    REDIS,
    MEMCACHED,
    RABBITMQ,
    CURL,
    HAPROXY,
    NGINX,
    PROMETHEUS,
    SYSTEMD,
    CHROMIUM,
)


if __name__ == "__main__":
    print(*dict.fromkeys(package for need in ALL for package in need.packages))
