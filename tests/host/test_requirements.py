"""The requirements install beside both WebUI versions without moving anything that the WebUI pins.

Two questions, both put to pip itself. Does one set of versions exist that satisfies the WebUI's pins and
ours? And, since pip may still choose to move what is there: in an environment that holds the WebUI's
packages and no constraints, does installing our files leave every pinned one alone? The extension's file is
tried with `--upgrade`, because that is how the WebUI's update wizard runs it.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import venv
import zipfile
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
CONSTRAINTS = Path(__file__).parent / "constraints"
PRODUCT = ROOT / "requirements.txt"
EXTENSION = ROOT / "extensions" / "exllama_guardrails" / "requirements.txt"
# "+standin" sorts above "+cpu" and above no label, so pip takes it before any torch of the same release.
TORCH_STANDIN = "2.13.0+standin"
CUDA_ONLY = ("nvidia", "cuda", "triton")
MUST_RESOLVE = {
    "exllamav2", "fastapi", "gradio", "huggingface-hub", "numpy", "pydantic", "sentence-transformers",
    "torch", "transformers",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Host:
    """One WebUI version: its pins, and what it installs under another label than the package index."""

    version: str
    labels: dict[str, str]

    @property
    def constraints(self) -> Path:
        return CONSTRAINTS / f"webui-{self.version}.txt"

    def pins(self) -> dict[str, Requirement]:
        lines = [line.split("#")[0].strip() for line in self.constraints.read_text().splitlines()]
        found = [Requirement(line) for line in lines if line]
        return {canonicalize_name(pin.name): pin for pin in found}


# torch is what the WebUI's own installer brings; gradio and its client are builds of a fork, which pip
# finds on no index: their labels are kept, their dependencies are those of the same stock release.
HOSTS = [
    Host("3.23", {"torch": "2.7.1+cpu", "gradio-client": "1.0.2+custom.1"}),
    Host("4.7.3", {"torch": "2.9.1+cpu", "gradio": "4.37.2+custom.20", "gradio-client": "1.0.2+custom.20"}),
]


@dataclass(frozen=True, slots=True)
class Plan:
    """What pip would install: name to version and declared dependencies; or why it would not."""

    packages: dict[str, tuple[str, list[str]]]
    failure: str


def pip(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *words]
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def plan(report: Path, *words: str, python: Path | None = None) -> Plan:
    elsewhere = ["--python", str(python)] if python else []
    ran = pip(*elsewhere, "install", "--quiet", "--dry-run", "--report", str(report), *words)
    if ran.returncode:
        return Plan({}, ran.stderr[-3000:])
    found = [item["metadata"] for item in json.loads(report.read_text(encoding="utf-8"))["install"]]
    return Plan({canonicalize_name(m["name"]): (m["version"], m.get("requires_dist", [])) for m in found}, "")


def torch_standin(folder: Path) -> Path:
    """A wheel with the dependencies of the torch that runs this suite, without its gigabytes."""
    needs = [
        line
        for line in importlib.metadata.requires("torch") or []
        if not canonicalize_name(Requirement(line).name).startswith(CUDA_ONLY)
    ]
    wheel = folder / f"torch-{TORCH_STANDIN}-py3-none-any.whl"
    inside = f"torch-{TORCH_STANDIN}.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{inside}/METADATA", metadata("torch", TORCH_STANDIN, needs))
        archive.writestr(f"{inside}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{inside}/RECORD", "")
    return wheel


def metadata(name: str, version: str, needs: list[str]) -> str:
    lines = [f"Requires-Dist: {need}" for need in needs]
    return "\n".join(["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *lines, ""])


def applies(need: Requirement) -> bool:
    return need.marker is None or need.marker.evaluate({"extra": ""})


def with_dependencies(names: set[str], packages: dict[str, tuple[str, list[str]]]) -> set[str]:
    """The names and everything they need, of what pip resolved: the WebUI's share of it."""
    seen: set[str] = set()
    waiting = [name for name in names if name in packages]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            needs = [Requirement(line) for line in packages[name][1]]
            waiting += [
                n for need in needs if applies(need) and (n := canonicalize_name(need.name)) in packages
            ]
    return seen


def environment_of(host: Host, resolved: Plan, folder: Path) -> Path:
    """The Python of an environment in which pip finds the WebUI's packages, as metadata only."""
    venv.create(folder, with_pip=False)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    query = [str(python), "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"]
    site = Path(subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip())
    for name in with_dependencies(set(host.pins()), resolved.packages):
        version, needs = resolved.packages[name]
        version = host.labels.get(name, version)
        record = site / f"{name.replace('-', '_')}-{version}.dist-info"
        record.mkdir()
        (record / "METADATA").write_text(metadata(name, version, needs), encoding="utf-8")
        (record / "INSTALLER").write_text("pip\n")
        (record / "RECORD").write_text("")
    return python


@dataclass(frozen=True, slots=True)
class Tried:
    """The answers of pip for one WebUI version."""

    together: Plan
    python: Path
    product: Plan
    extension: Plan


def try_host(host: Host, folder: Path, wheels: Path) -> Tried:
    together = plan(
        folder / "together.json", "--ignore-installed", "--find-links", str(wheels),
        "--constraint", str(host.constraints), "--requirement", str(PRODUCT), "--requirement", str(EXTENSION),
    )  # fmt: skip
    python = environment_of(host, together, folder / "webui")
    product = plan(folder / "product.json", "--requirement", str(PRODUCT), python=python)
    extension = plan(folder / "extension.json", "--upgrade", "--requirement", str(EXTENSION), python=python)
    return Tried(together, python, product, extension)


@pytest.fixture(scope="module")
def tries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Future[Tried]]:
    assert not pip("--version").returncode, "the environment of the suite has no pip"
    reached = pip("--retries", "1", "--timeout", "20", "index", "versions", "packaging")
    if reached.returncode:
        pytest.skip(f"the package index cannot be reached; pip says: {reached.stderr.strip()[-200:]}")
    wheels = torch_standin(tmp_path_factory.mktemp("wheels")).parent
    with ThreadPoolExecutor() as pool:
        return {
            host.version: pool.submit(try_host, host, tmp_path_factory.mktemp("host"), wheels)
            for host in HOSTS
        }


each_host = pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.version)


@each_host
def test_both_files_resolve_together_with_the_webuis_pins(host: Host, tries: dict[str, Future[Tried]]):
    together = tries[host.version].result().together
    assert not together.failure, together.failure
    versions = {name: version for name, (version, _) in together.packages.items()}
    assert not MUST_RESOLVE - versions.keys()
    pins = host.pins()
    outside = [f"{n} {v}" for n, v in versions.items() if n in pins and not pins[n].specifier.contains(v)]
    assert not outside
    assert not [name for name in versions if name.startswith(CUDA_ONLY)]


@each_host
@pytest.mark.parametrize("file", ["product", "extension"])
def test_an_install_into_the_webui_moves_none_of_its_pins(
    host: Host, file: str, tries: dict[str, Future[Tried]]
):
    would = getattr(tries[host.version].result(), file)
    assert not would.failure, would.failure
    moved = {name: version for name, (version, _) in would.packages.items() if name in host.pins()}
    assert not moved, f"the install would move what TextGen WebUI {host.version} pins: {moved}"
    assert "sentence-transformers" in would.packages  # it was a real install, not an empty one


def test_the_check_sees_a_requirement_that_moves_a_pin(tries: dict[str, Future[Tried]], tmp_path: Path):
    tried = tries[HOSTS[0].version].result()
    would = plan(tmp_path / "moved.json", "numpy>=2.3", python=tried.python)
    assert "numpy" in would.packages, would.failure
