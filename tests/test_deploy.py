"""The files that reach a cluster: well formed, of one mind, and without secrets."""

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
import yaml

from pipeline import cli
from pipeline.submit import DEFAULT_ADDRESS, check

ROOT = Path(__file__).parents[1]
LAUNCHER = ROOT / "ray_cluster.yaml"
DEPLOY = ROOT / "deploy"
KUBERAY = ("raycluster.yaml", "rayjob.yaml")
SCRIPTS = ("slurm.sh", "submit.sh")
ALL = [LAUNCHER, *(DEPLOY / name for name in (*KUBERAY, *SCRIPTS, "Dockerfile", "README.md"))]


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def cluster_spec(name: str) -> Any:
    spec = load(DEPLOY / name)["spec"]
    return spec.get("rayClusterSpec", spec)


def pods(spec: Any) -> Iterator[Any]:
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        yield group["template"]["spec"]


def pinned(package: str) -> str:
    text = (ROOT / "constraints.txt").read_text()
    (found,) = re.findall(rf"^{package}==(.+)$", text, re.MULTILINE)
    return str(found)


def test_the_launcher_file_is_what_rays_own_schema_asks_for() -> None:
    spec = find_spec("ray")
    assert spec is not None
    assert spec.origin is not None
    schema = Path(spec.origin).parent / "autoscaler" / "ray-schema.json"
    config = load(LAUNCHER)

    jsonschema.validate(config, json.loads(schema.read_text()))

    workers = config["available_node_types"]["gpu_worker"]
    assert config["head_node_type"] in config["available_node_types"]
    assert workers["max_workers"] <= config["max_workers"]
    # The engine counts GPUs when a job starts: a cluster without workers would take none.
    assert workers["min_workers"] >= 1


def test_every_image_is_the_one_that_the_dockerfile_says_how_to_build() -> None:
    built = f"REGISTRY/hypercon:{version('hypercon')}"

    assert f"-t {built} ." in (DEPLOY / "Dockerfile").read_text()
    assert load(LAUNCHER)["docker"]["image"] == built
    for name in KUBERAY:
        images = [box["image"] for pod in pods(cluster_spec(name)) for box in pod["containers"]]
        assert images == [built, built]


@pytest.mark.parametrize("name", KUBERAY)
def test_kubernetes_manifests_fit_ray_and_the_image(name: str) -> None:
    manifest, spec = load(DEPLOY / name), cluster_spec(name)

    assert manifest["apiVersion"] == "ray.io/v1"
    assert spec["rayVersion"] == pinned("ray")
    assert spec["authOptions"] == {"mode": "token"}
    for pod in pods(spec):
        claims = {volume["name"]: volume["persistentVolumeClaim"] for volume in pod["volumes"]}
        (container,) = pod["containers"]
        assert [mount["name"] for mount in container["volumeMounts"]] == list(claims)
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert pod["securityContext"]["fsGroup"] == 1000
    for workers in spec["workerGroupSpecs"]:
        assert 1 <= workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]


def test_all_mean_the_same_folder_and_the_same_port() -> None:
    (volume,) = [o for o in load(LAUNCHER)["docker"]["run_options"] if o.startswith("--volume=")]
    (start,) = load(LAUNCHER)["head_start_ray_commands"]
    mounts = {
        mount["mountPath"]
        for name in KUBERAY
        for pod in pods(cluster_spec(name))
        for mount in pod["containers"][0]["volumeMounts"]
    }

    assert volume == "--volume=/mnt/shared:/mnt/shared"
    assert mounts == {"/mnt/shared"}
    port = DEFAULT_ADDRESS.rpartition(":")[2]
    assert f"--dashboard-port={port}" in start
    assert DEFAULT_ADDRESS in (DEPLOY / "submit.sh").read_text()
    for name in KUBERAY:
        ports = cluster_spec(name)["headGroupSpec"]["template"]["spec"]["containers"][0]["ports"]
        assert {"containerPort": int(port), "name": "dashboard"} in ports


def test_the_entry_point_is_a_command_that_exists() -> None:
    """The job's options are read by the command itself, which refuses what it does not know."""
    words = shlex.split(load(DEPLOY / "rayjob.yaml")["spec"]["entrypoint"])
    group = typer.main.get_command(cli.app)
    context = group.make_context("hypercon", ["run"])

    assert words[:3] == ["python", "-m", "pipeline.cli"]
    check(context, words[3:])
    with pytest.raises(Exception, match="--raduis"):
        check(context, [*words[3:], "--raduis", "3"])


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_bash_that_stops_at_the_first_error(name: str) -> None:
    path = DEPLOY / name

    subprocess.run(["bash", "-n", path], check=True)  # noqa: S603, S607 - bash is wherever it is

    assert path.stat().st_mode & 0o111
    assert "set -euo pipefail" in path.read_text()


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_no_file_holds_a_secret_or_ends_what_is_not_its_own(path: Path) -> None:
    text = path.read_text()

    # A token is what a command prints or a file holds, never the value itself.
    assert not re.search(r"RAY_AUTH_TOKEN[\"']?\s*[=:]\s*[\"']?\w", text)
    assert not re.search(r"RAY_AUTH_MODE\W+disabled|AKIA[0-9A-Z]{16}|PRIVATE KEY", text)
    assert "ray stop" not in text
    assert not re.search(r"\bp?kill(all)? +-?f?\w*ray\b", text)
    assert "models get" not in text or path.name == "README.md"


def test_the_image_installs_what_the_tests_run_with_and_does_not_run_as_root() -> None:
    steps = (DEPLOY / "Dockerfile").read_text()
    copied = [word for line in re.findall(r"^COPY (.+) \S+$", steps, re.M) for word in line.split()]

    assert "pip install --no-cache-dir -c constraints.txt" in steps
    assert all((ROOT / name).exists() for name in copied)
    assert {"operators", "pipeline", "constraints.txt"} <= set(copied)
    assert re.search(r"^USER ray$", steps, re.M)
    assert steps.index("USER ray") > steps.index("pip install")


def test_the_readme_links_to_files_that_exist() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", (DEPLOY / "README.md").read_text())

    assert links
    assert all((DEPLOY / link).exists() for link in links)
