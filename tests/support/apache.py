"""An Apache with mod_wsgi for a test. It brings the system's own Python, not the one that tests."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import flask
import pytest

from support.environment import environment
from support.mounts import can_unshare, public
from support.servers import Served
from support.stage import Stage
from support.system import MOD_WSGI

MODULES = "/usr/lib/apache2/modules"

CONFIGURATION = """\
ServerName localhost
ServerRoot "{home}"
PidFile "{home}/pid"
ErrorLog /proc/self/fd/2
Listen 127.0.0.1:{port}
{user}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule wsgi_module {modules}/mod_wsgi.so
StartServers 1
ServerLimit 1
MaxRequestWorkers 25
MinSpareThreads 1
WSGISocketPrefix "{home}/wsgi"
WSGIPythonPath "{path}"
{more}
WSGIScriptAlias / "{home}/app.wsgi"
<Location "/">
    Require all granted
</Location>
"""

DAEMONS = """\
WSGIDaemonProcess {name} processes=2 threads=8 home="{home}" python-path="{path}"
WSGIProcessGroup {name}
WSGIApplicationGroup {application_group}
"""

IMPORT = """\
WSGIImportScript "{home}/app.wsgi" process-group={name} application-group={application_group}
"""

needs_apache = pytest.mark.skipif(
    not MOD_WSGI.is_met or (os.geteuid() == 0 and not can_unshare("--mount")),
    reason=f"needs: {MOD_WSGI.apt_get}; as root also: CAP_SYS_ADMIN",
)


def apache(
    home: Path, *parts: str, application_group: str = "%{GLOBAL}", stage: Stage | None = None
) -> Served:
    """Return an Apache, not started yet, that serves the app of `served` below `/`.

    `parts` are pieces of configuration. As root Apache serves as the user nobody.
    """
    home.mkdir(parents=True)
    (home / "app.wsgi").write_text("from served import app as application\n")
    stage = stage or Stage(home / "stage")
    root = os.geteuid() == 0
    path = [environment(home)["PYTHONPATH"], str(Path(flask.__file__).parents[1])]
    reached: list[str | Path] = [home, stage.root, *os.pathsep.join(path).split(os.pathsep)]
    wrapper = public(*reached) if root else []
    program = shutil.which("apache2", path=f"{os.environ['PATH']}:/usr/sbin") or ""
    conf = home / "httpd.conf"
    served = Served(home, [*wrapper, program, "-f", str(conf), "-DFOREGROUND"], stage=stage)
    text = CONFIGURATION.replace("{more}", "\n".join(parts))
    values = {
        "home": home,
        "port": served.port,
        "path": os.pathsep.join(path),
        "modules": MODULES,
        "name": "served",
        "application_group": application_group,
        "user": "User nobody\nGroup nogroup" if root else "",
    }
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", str(value))
    conf.write_text(text)
    return served
