"""Writes the locks and the bill of materials: `python tests/make_lock.py` (needs uv and cyclonedx-bom).

For Python 3.11 the locks hold the versions that this environment has, with which the tests ran; for other
versions of Python and other systems uv chooses. For which of them each list has a wheel of every package
stands in its first lines, and decides at set-up whether the list is taken. No index is named in them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTENSION = ROOT / "extensions" / "exllama_guardrails"
FOLDER = EXTENSION / "docs" / "supply_chain"
LOCK, SBOM = FOLDER / "requirements.lock", FOLDER / "sbom.cdx.json"
MODELS, TESTS = FOLDER / "models.lock", ROOT / "tests" / "requirements.lock"
REQUIREMENTS = (ROOT / "requirements.txt", EXTENSION / "requirements.txt")
ADDRESS = re.compile(r"\w+://|file:|(?<![\w.])/(?:home|opt|root|tmp|usr|work|var)/")

sys.path.insert(0, str(EXTENSION))

from exllama_guard.standalone.environment import NO_DEPENDENCIES, requirement_lines  # noqa: E402 - needs the path
from exllama_guard.standalone.locked import FITS, ONLY_CUDA, locked_list  # noqa: E402 - needs the path

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
PLATFORMS = {  # the head's name to uv's; of one system the oldest glibc that will do is taken
    "linux-x86_64 glibc-2.28": "x86_64-manylinux_2_28",
    "linux-x86_64 glibc-2.31": "x86_64-manylinux_2_31",
    "linux-x86_64 glibc-2.35": "x86_64-manylinux_2_35",
    "linux-aarch64 glibc-2.28": "aarch64-manylinux_2_28",
    "linux-aarch64 glibc-2.31": "aarch64-manylinux_2_31",
    "linux-aarch64 glibc-2.35": "aarch64-manylinux_2_35",
    "darwin-arm64": "aarch64-apple-darwin",
    "win32-amd64": "x86_64-pc-windows-msvc",
}


def compiled(sources: Sequence[str | Path], constraints: str, *options: str) -> str:
    """What uv resolves `sources` to, for Python 3.10 and later on every system, with hashes."""
    with tempfile.TemporaryDirectory() as folder:
        pinned = Path(folder, "constraints.txt")
        pinned.write_text(constraints, encoding="utf-8")
        command = ["uv", "pip", "compile", *map(str, sources), "--constraint", str(pinned)]
        command += ["--universal", "--python-version", "3.10", "--generate-hashes", "--no-header"]
        command += ["--no-annotate", "--no-emit-index-url", "--no-emit-find-links", "--quiet", *options]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    lines = done.stdout.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("--"))


def versions_here() -> str:
    """The versions of this environment, as constraints for its Python version."""
    here = "python_full_version >= '3.11' and python_full_version < '3.12'"
    return "".join(
        f"{found.name}=={found.version.partition('+')[0]} ; {here}\n"
        for found in metadata.distributions()
        if found.name not in ("pip", "setuptools")
    )


def pins(text: str) -> str:
    """The entries of a lock without their hashes."""
    return "".join(line.rstrip(" \\\n") + "\n" for line in text.splitlines() if line[:1].isalnum())


def names(text: str) -> set[str]:
    """The projects that a lock names."""
    return {line.partition("==")[0] for line in pins(text).splitlines()}


def fits(text: str) -> str:
    """One line a platform: the Python versions for which every package that is taken there has a wheel."""
    lines = ""
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder, "listed.txt")
        listed.write_text(locked_list(text).without(cuda=False), encoding="utf-8")
        done = set[tuple[str, str]]()
        for platform, triple in PLATFORMS.items():
            system = platform.partition(" ")[0]
            asked = [python for python in PYTHONS if (system, python) not in done]
            good = [python for python in asked if _has_wheels(listed, folder, triple, python)]
            done |= {(system, python) for python in good}
            lines += f"{FITS} {platform} {' '.join(good)}\n" if good else ""
    return lines


def _has_wheels(listed: Path, folder: str, triple: str, python: str) -> bool:
    command = ["uv", "pip", "install", "--dry-run", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--only-binary", ":all:", "--python-platform", triple, "--python-version", python]
    command += ["--target", str(Path(folder, "target")), "-r", str(listed)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        print(f"{triple} {python}: {done.stderr.strip()[:400]}", file=sys.stderr)
    return done.returncode == 0


def write_locks() -> None:
    """Writes the three lists; the tests' holds the product's versions and what the tests need beyond them."""
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder, "without-cuda.txt")
        plain.write_text("\n".join(requirement_lines(REQUIREMENTS[0], cuda=False)), encoding="utf-8")
        product = compiled(REQUIREMENTS, versions_here())
        without = compiled([plain, REQUIREMENTS[1]], pins(product))
        models = Path(folder, "models.txt")
        models.write_text("\n".join(NO_DEPENDENCIES), encoding="utf-8")
        found = compiled([models], versions_here(), "--no-deps")
    only = f"{ONLY_CUDA} {' '.join(sorted(names(product) - names(without)))}\n"
    tests = compiled([*REQUIREMENTS, ROOT / "tests" / "requirements.txt"], pins(product) + versions_here())
    for path, text, of in (
        (LOCK, product, "requirements.txt"),
        (MODELS, found, "the packages that carry the two models"),
        (TESTS, tests, "requirements.txt and tests/requirements.txt"),
    ):
        head = f"# What {of} resolves to, with hashes: python tests/make_lock.py\n"
        head += only if path != MODELS else ""
        path.write_text(head + fits(head + text) + text, encoding="utf-8")


def write_sbom() -> None:
    """Writes sbom.cdx.json from the product's lock."""
    command = ["cyclonedx-py", "requirements", str(LOCK), "--output-reproducible", "--of", "JSON"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    bill = json.loads(done.stdout)
    bill["metadata"] = {"component": {"type": "application", "name": "exllama-guardrails", "bom-ref": "root"}}
    for component in bill["components"]:
        for name in ("externalReferences", "description"):
            component.pop(name, None)
    SBOM.write_text(json.dumps(bill, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def main() -> int:
    """0 once all are written and name no address of this machine."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    write_locks()
    write_sbom()
    for path in (LOCK, MODELS, TESTS, SBOM):
        text = path.read_text(encoding="utf-8").replace("http://cyclonedx.org/", "")
        found = ADDRESS.search(text)
        if found is not None:
            print(
                f"{path.name} names an address: {text[found.start() - 40 : found.end() + 40]}",
                file=sys.stderr,
            )
            return 1
        print(f"{path.relative_to(ROOT)}: {len(text):,} characters")
    return 0


if __name__ == "__main__":
    sys.exit(main())
