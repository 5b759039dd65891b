"""Writes the lock and the bill of materials: `python tests/make_lock.py` (needs uv and cyclonedx-bom).

For Python 3.11 the lock holds the versions that this environment has, with which the tests ran; for other
versions of Python and other systems uv chooses. No index is named in what is written.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "extensions" / "exllama_guardrails" / "docs" / "supply_chain"
LOCK, SBOM = FOLDER / "requirements.lock", FOLDER / "sbom.cdx.json"
REQUIREMENTS = (ROOT / "requirements.txt", ROOT / "extensions" / "exllama_guardrails" / "requirements.txt")
ADDRESS = re.compile(r"\w+://|file:|(?<![\w.])/(?:home|opt|root|tmp|usr|work|var)/")


def lock() -> None:
    """Writes requirements.lock."""
    here = ">= '3.11' and python_full_version < '3.12'"
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder, "constraints.txt")
        constraints.write_text(
            "".join(
                f"{found.name}=={found.version.partition('+')[0]} ; python_full_version {here}\n"
                for found in metadata.distributions()
                if found.name not in ("pip", "setuptools")
            ),
            encoding="utf-8",
        )
        command = ["uv", "pip", "compile", *map(str, REQUIREMENTS), "--constraint", str(constraints)]
        command += [
            "--universal",
            "--python-version",
            "3.10",
            "--generate-hashes",
            "--no-header",
            "--no-annotate",
        ]
        command += ["--no-emit-index-url", "--no-emit-find-links", "--quiet", "--output-file", str(LOCK)]
        subprocess.run(command, check=True)
    about = "# What requirements.txt resolves to, with hashes: python tests/make_lock.py\n"
    lines = LOCK.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith("--")]
    LOCK.write_text(about + "".join(kept), encoding="utf-8")


def sbom() -> None:
    """Writes sbom.cdx.json from the lock."""
    command = ["cyclonedx-py", "requirements", str(LOCK), "--output-reproducible", "--of", "JSON"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    bill = json.loads(done.stdout)
    bill["metadata"] = {"component": {"type": "application", "name": "exllama-guardrails", "bom-ref": "root"}}
    for component in bill["components"]:
        for name in ("externalReferences", "description"):
            component.pop(name, None)
    SBOM.write_text(json.dumps(bill, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def main() -> int:
    """0 once both are written and name no address of this machine."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    lock()
    sbom()
    for path in (LOCK, SBOM):
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
