"""The files of `deploy/`: what they are made of, and what the programs that read them say."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError
from support import system
from support.kit import FILES, KIT, File

SCHEMAS = Path(__file__).resolve().parent / "schemas"

TOOLS = {
    "haproxy": system.HAPROXY,
    "nginx": system.NGINX,
    "promtool": system.PROMETHEUS,
    "systemd-analyze": system.SYSTEMD,
}


class Loader(yaml.SafeLoader):
    """Reads `!Ref name` of CloudFormation as an object."""


def ref(loader: Loader, node: yaml.ScalarNode) -> dict[str, object]:
    """The object that `!Ref` stands for."""
    return {"Ref": loader.construct_scalar(node)}


Loader.add_constructor("!Ref", ref)


def read(name: str) -> str:
    """The text of a file of the kit."""
    return (KIT / name).read_text()


def documents(text: str) -> list[Any]:
    """The documents of a YAML text; the key `on` stays a text."""
    found = list(yaml.load_all(text, Loader))
    return [{"on" if key is True else key: value for key, value in d.items()} for d in found]


@functools.cache
def validator(schema: str) -> Any:
    """What judges documents of one kind."""
    return Draft202012Validator(json.loads((SCHEMAS / f"{schema}.json").read_text()))


def refused(schema: str, document: Any) -> list[str]:
    """What a schema has against a document."""
    return [error.message for error in validator(schema).iter_errors(document)]


def tool(name: str, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program of the system, or skip the test that needs it."""
    need = TOOLS[name]
    if not need.is_met:
        pytest.skip(f"needs {need.apt_get}")
    program = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin")
    assert program
    return subprocess.run(
        [program, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60.0,
        **options,
    )


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_each_file_is_what_the_command_prints(file: File) -> None:
    """None was changed by hand; `python -m support.kit` in `tests/` writes them anew."""
    assert file.path.read_text() == file.render(), file.command


METRICS = ("grafana", "prometheus")
"""Folders of the kit that belong to the metrics, and are tested with them."""


def test_every_file_is_exercised() -> None:
    """What lies in the directory is printed by a manifest, or tested with the metrics."""
    lying = {path.relative_to(KIT).as_posix() for path in KIT.rglob("*") if path.is_file()}
    others = lying - {file.name for file in FILES}
    assert {file.name for file in FILES} <= lying
    assert {name for name in others if name.partition("/")[0] not in METRICS} == set()


# by schema: what needs a cluster or an account to be tried

CHECKED = {
    "kubernetes.yaml": "kubernetes",
    "fleet/kubernetes.yaml": "kubernetes",
    "compose.yaml": "compose",
    "fleet/compose.yaml": "compose",
    "aws-target-group.yaml": "cloudformation",
    "consul.json": "consul",
    "github-verify.yml": "github",
}


@pytest.mark.parametrize("name", CHECKED)
def test_files_have_known_fields_alone(name: str) -> None:
    """Every field is one that there is, of the right type, within its limits."""
    found = documents(read(name))
    assert found
    for document in found:
        assert refused(CHECKED[name], document) == []


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every key of every object in a document."""
    children = value.items() if isinstance(value, dict) else ()
    for key, child in children:
        yield (*path, key)
        yield from paths(child, (*path, key))
    for number, child in enumerate(value if isinstance(value, list) else ()):
        yield from paths(child, (*path, number))


FREE = """
depends_on env environment inputs jobs labels matchLabels Outputs Parameters Resources secrets
selector services
""".split()
"""Objects whose keys are anybody's choice; so are keys with a dot in them."""


@pytest.mark.parametrize("name", CHECKED)
def test_a_misspelt_field_is_seen(name: str) -> None:
    """The schemas are strict: a field under another name is refused, wherever it is."""
    against = validator(CHECKED[name])
    for document in documents(read(name)):
        for *above, key in list(paths(document)):
            if above[-1:] and above[-1] in FREE and (above[-1] != "selector" or "." in key):
                continue
            place = document
            for step in above:
                place = place[step]
            kept = dict(place)
            place[f"{key}x"] = place.pop(key)
            assert not against.is_valid(document), (*above, key)
            place.clear()
            place.update(kept)
        assert against.is_valid(document)


def test_kubernetes_numbers_are_within_limits() -> None:
    """The schema knows the rules that are no matter of spelling."""
    deployment, service = documents(read("kubernetes.yaml"))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    container["livenessProbe"]["successThreshold"] = 2
    assert refused("kubernetes", deployment)
    service["spec"]["ports"][0]["targetPort"] = 0
    assert refused("kubernetes", service)


@pytest.mark.parametrize("name", ["kubernetes.yaml", "fleet/kubernetes.yaml"])
def test_kubernetes_names_fit(name: str) -> None:
    """Probes ask a port that there is, volumes are mounted, the Service finds its pods."""
    deployment, service = documents(read(name))
    template = deployment["spec"]["template"]
    labels = template["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert service["spec"]["selector"].items() <= labels.items()
    (container,) = template["spec"]["containers"]
    ports = {port["name"] for port in container["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] in ports
    volumes = {volume["name"]: volume["emptyDir"] for volume in template["spec"]["volumes"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert set(mounts.values()) == set(volumes)
    values = {v["name"]: v.get("value") for v in container["env"]}
    state = values["FLASK_HEALTH_STATE_DIR"]
    assert volumes[mounts[state]]["medium"] == "Memory"
    assert f"--worker-tmp-dir={state}" in container["args"]
    assert container["securityContext"]["readOnlyRootFilesystem"]


def test_a_fleet_has_redis_and_three_servers() -> None:
    """Compose brings Redis along; Kubernetes takes its address from a Secret."""
    (compose,) = documents(read("fleet/compose.yaml"))
    app = compose["services"]["example-app"]
    assert app["deploy"]["replicas"] == 3
    assert app["environment"]["FLASK_HEALTH_FLEET_URL"] == "redis://redis:6379/0"
    assert app["depends_on"] == {"redis": {"condition": "service_healthy"}}
    assert "redis" in compose["services"]
    deployment, _ = documents(read("fleet/kubernetes.yaml"))
    assert deployment["spec"]["replicas"] == 3
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    (url,) = [v for v in container["env"] if v["name"] == "FLASK_HEALTH_FLEET_URL"]
    assert url["valueFrom"]["secretKeyRef"] == {"name": "example-app-fleet", "key": "url"}
    (release,) = [v["value"] for v in container["env"] if v["name"] == "FLASK_HEALTH_VERSION"]
    assert app["environment"]["FLASK_HEALTH_VERSION"] == release == "1.0.0"
    assert container["image"].endswith(f":{release}")


def test_the_workflow_waits_before_it_verifies() -> None:
    """Both with the version of the caller, which no shell expands, and within the job's time."""
    (workflow,) = documents(read("github-verify.yml"))
    job = workflow["jobs"]["verify"]
    wait, check = (step["run"].split() for step in job["steps"][-2:])
    assert wait[:2] == ["flask-health", "wait"]
    assert check[:2] == ["flask-health", "check"]
    assert '"$VERSION"' in wait
    assert '"$VERSION"' in check
    assert float(wait[wait.index("--timeout") + 1]) <= job["timeout-minutes"] * 60 - 60
    assert workflow["permissions"] == {}
    assert not [step for step in job["steps"] if "${{ inputs" in step["run"]]


# the Dockerfile: no daemon is asked

INSTRUCTIONS = ("FROM", "WORKDIR", "COPY", "RUN", "USER", "ENV", "EXPOSE", "HEALTHCHECK", "CMD")


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, each with its arguments on one line."""
    text = re.sub(r"^#.*\n", "", read("Dockerfile"), flags=re.MULTILINE)
    joined = re.sub(r"\\\n\s*", "", text)
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in joined.splitlines()]


def test_the_dockerfile() -> None:
    """Known instructions alone; the health check and the server start without a shell, not as
    root."""
    found = instructions()
    assert {name for name, _ in found} <= set(INSTRUCTIONS)
    told = dict(found)
    options, _, command = told["HEALTHCHECK"].partition("CMD ")
    assert json.loads(command)[:2] == ["flask-health", "check"]
    flags = dict(re.findall(r"--([a-z-]+)=(\d+)", options))
    assert flags.keys() == {"interval", "timeout", "retries", "start-period"}
    assert json.loads(told["CMD"])[0] == "gunicorn"
    assert int(told["USER"]) > 0
    assert [name for name, _ in found].index("USER") > [name for name, _ in found].index("RUN")


# by the programs that will read them


def test_haproxy_reads_its_file() -> None:
    """Without a warning."""
    done = tool("haproxy", "-c", "-f", str(KIT / "haproxy.cfg"))
    assert done.returncode == 0, done.stderr
    assert "[WARNING]" not in done.stdout + done.stderr


def test_nginx_reads_its_file(tmp_path: Path) -> None:
    """As one of `conf.d`, inside of a minimal configuration."""
    main = tmp_path / "nginx.conf"
    main.write_text(
        f"pid {tmp_path}/pid;\nerror_log {tmp_path}/error.log;\nevents {{}}\n"
        f"http {{\n access_log off;\n include {KIT}/nginx.conf;\n}}\n"
    )
    done = tool("nginx", "-t", "-p", str(tmp_path), "-c", str(main))
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr.replace('the "user" directive', "")


def test_promtool_reads_its_file(tmp_path: Path) -> None:
    """With a token where the file expects one."""
    token = tmp_path / "token"
    token.write_text("s3cret")
    text = read("prometheus.yml").replace("/etc/prometheus/example-app.token", str(token))
    assert str(token) in text
    config = tmp_path / "prometheus.yml"
    config.write_text(text)
    done = tool("promtool", "check", "config", str(config))
    assert done.returncode == 0, done.stdout + done.stderr


def test_systemd_reads_its_unit(tmp_path: Path) -> None:
    """With programs where the unit expects them it has nothing to say."""
    text = read("example-app.service")
    programs = tmp_path / "srv"
    for program in set(re.findall(r"/srv/example-app(/venv/bin/\S+)", text)):
        path = programs / program.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    unit = tmp_path / "example-app.service"
    unit.write_text(text.replace("/srv/example-app", str(programs)))
    done = tool("systemd-analyze", "verify", "--man=no", str(unit))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    unit.write_text(unit.read_text().replace("TimeoutStopSec", "TimeoutStopSecs"))
    assert "TimeoutStopSecs" in tool("systemd-analyze", "verify", "--man=no", str(unit)).stderr


def test_the_schemas_are_schemas() -> None:
    """A mistake in one would let everything pass."""
    for path in SCHEMAS.glob("*.json"):
        Draft202012Validator.check_schema(json.loads(path.read_text()))
    with pytest.raises(ValidationError):
        schema = json.loads((SCHEMAS / "kubernetes.json").read_text())
        Draft202012Validator(schema).validate({})
