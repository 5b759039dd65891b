"""The lock and the bill of materials hold what requirements.txt asks for, with hashes, and no address."""

from __future__ import annotations

import json
import re

import pytest
from conftest import EXTENSION, ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

FOLDER = EXTENSION / "docs" / "supply_chain"
ENTRY = re.compile(
    r"^(?P<name>[a-z0-9._-]+)==(?P<version>[^\s;]+)(?P<rest>[^\n]*(?:\n    --hash=[^\n]*)*)", re.MULTILINE
)
ADDRESS = re.compile(r"\w+://|file:|(?<![\w.])/(?:home|opt|root|tmp|usr|work|var)/")


@pytest.fixture(scope="module")
def locked():
    """Versions by name, each with its hashes."""
    text = (FOLDER / "requirements.lock").read_text(encoding="utf-8")
    found = {}
    for match in ENTRY.finditer(text):
        hashes = re.findall(r"--hash=sha256:[0-9a-f]{64}\b", match["rest"])
        found.setdefault(canonicalize_name(match["name"]), {})[Version(match["version"])] = len(hashes)
    assert len(found) > 60
    assert sum(line[:1].isalnum() for line in text.splitlines()) == sum(map(len, found.values()))
    return found


@pytest.mark.parametrize(
    "file", [ROOT / "requirements.txt", EXTENSION / "requirements.txt"], ids=["top", "extension"]
)
def test_each_requirement_is_locked_in_a_version_that_it_allows(file, locked):
    lines = [line.partition("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines()]
    for requirement in map(Requirement, filter(None, lines)):
        versions = locked[canonicalize_name(requirement.name)]
        assert all(version in requirement.specifier for version in versions), requirement


def test_each_locked_version_has_a_hash(locked):
    assert all(count for versions in locked.values() for count in versions.values())


def test_the_bill_of_materials_lists_the_lock(locked):
    bill = json.loads((FOLDER / "sbom.cdx.json").read_text(encoding="utf-8"))
    assert bill["bomFormat"] == "CycloneDX"
    listed = {(canonicalize_name(part["name"]), Version(part["version"])) for part in bill["components"]}
    assert listed == {(name, version) for name, versions in locked.items() for version in versions}
    assert all(part["purl"].startswith("pkg:pypi/") for part in bill["components"])


@pytest.mark.parametrize("name", ["requirements.lock", "sbom.cdx.json"])
def test_neither_names_an_index_or_a_folder(name):
    text = (FOLDER / name).read_text(encoding="utf-8").replace("http://cyclonedx.org/", "")
    assert ADDRESS.search(text) is None
