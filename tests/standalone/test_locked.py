"""What of a hash-locked list is installed, and on which machines it is taken."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from conftest import EXTENSION, ROOT
from exllama_guard.errors import UserError
from exllama_guard.standalone.environment import FOLDER_VARIABLE, NEWEST_FOLDER, Environment
from exllama_guard.standalone.locked import Machine, locked_list, this_machine
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

LISTS = {
    "product": (EXTENSION / "docs/supply_chain/requirements.lock", [ROOT / "requirements.txt"]),
    "tests": (
        ROOT / "tests/requirements.lock",
        [ROOT / "requirements.txt", ROOT / "tests/requirements.txt", EXTENSION / "requirements.txt"],
    ),
}
HEAD = """# about
# only with CUDA exllamav2 ninja
# fits linux-x86_64 glibc-2.28 3.10 3.11
# fits win32-amd64 3.12
"""
ENTRIES = (
    "exllamav2==1 \\\n    --hash=sha256:a\nnumpy==2 ; python_full_version < '3.11' \\\n    --hash=sha256:b\n"
)


@pytest.mark.parametrize("name", LISTS)
def test_a_list_satisfies_the_ranges_that_it_stands_for(name):
    path, sources = LISTS[name]
    versions = {}
    for entry, _ in locked_list(path.read_text(encoding="utf-8")).entries:
        versions.setdefault(canonicalize_name(entry), [])
    for found in re.finditer(r"^([a-z0-9._-]+)==([^\s;]+)", path.read_text(encoding="utf-8"), re.MULTILINE):
        versions[canonicalize_name(found[1])].append(Version(found[2]))
    lines = [line.partition("#")[0] for file in sources for line in file.read_text().splitlines()]
    wanted = [Requirement(line) for line in lines if line.strip()]
    assert len(wanted) > 10
    for requirement in wanted:
        assert versions[canonicalize_name(requirement.name)], requirement
        for version in versions[canonicalize_name(requirement.name)]:
            assert version in requirement.specifier, (requirement, version)


def test_the_lists_agree_on_every_package_that_both_hold():
    product, tests = (dict.fromkeys(_pins(LISTS[name][0])) for name in ("product", "tests"))
    names = {pin.partition("==")[0] for pin in product}
    assert {pin for pin in tests if pin.partition("==")[0] in names} == set(product)


def _pins(path):
    return re.findall(r"^([a-z0-9._-]+==[^\s;]+)", path.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("cuda", [False, True])
def test_pip_is_given_neither_torch_nor_what_belongs_to_it(name, cuda):
    text = locked_list(LISTS[name][0].read_text(encoding="utf-8")).without(cuda=cuda)
    names = re.findall(r"^([a-z0-9._-]+)==", text, re.MULTILINE)
    assert len(set(names)) > 60
    assert not [one for one in names if one in ("torch", "triton") or one.startswith(("nvidia-", "cuda-"))]
    assert ("exllamav2" in names) is cuda
    assert text.count("--hash=sha256:") >= len(names)


@pytest.mark.parametrize(
    ("machine", "fits"),
    [
        (Machine("linux-x86_64", "3.10", (2, 28)), True),
        (Machine("linux-x86_64", "3.11", (2, 100)), True),
        (Machine("linux-x86_64", "3.11", (2, 17)), False),
        (Machine("linux-x86_64", "3.12", (2, 36)), False),
        (Machine("linux-riscv64", "3.11", (2, 36)), False),
        (Machine("", "3.11"), False),
        (Machine("win32-amd64", "3.12"), True),
        (Machine("win32-amd64", ""), False),
    ],
)
def test_a_list_fits_where_its_head_says_so(machine, fits):
    assert locked_list(HEAD + ENTRIES).fits_on(machine) is fits


def test_an_entry_keeps_its_marker_and_its_hashes():
    listed = locked_list(HEAD + ENTRIES)
    assert listed.without(cuda=True) == ENTRIES
    assert listed.without(cuda=False) == ENTRIES[ENTRIES.index("numpy") :]


def test_this_machine_is_told_in_the_words_of_a_list():
    machine = this_machine()
    assert machine.python == "{}.{}".format(*sys.version_info[:2])
    assert machine.system.startswith(("linux-", "darwin-", "win32-"))


# --- through the set-up, with a real pip ------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with one requirement that lies as a wheel in a folder, torch being there already."""
    supply = tmp_path / "extensions/exllama_guardrails/docs/supply_chain"
    supply.mkdir(parents=True)
    (tmp_path / "requirements.txt").write_text("one>=1\n")
    links = tmp_path / "links"
    links.mkdir()
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "env"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    monkeypatch.setenv("PIP_CONFIG_FILE", "")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def _wheels(links, *versions):
    import hashlib
    import zipfile

    hashes = []
    for version in versions:
        file = links / f"one-{version}-py3-none-any.whl"
        with zipfile.ZipFile(file, "w") as wheel:
            inside = f"one-{version}.dist-info"
            wheel.writestr(f"{inside}/METADATA", f"Metadata-Version: 2.1\nName: one\nVersion: {version}\n")
            wheel.writestr(
                f"{inside}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            wheel.writestr(f"{inside}/RECORD", "")
        hashes.append(hashlib.sha256(file.read_bytes()).hexdigest())
    return hashes


def _lock(checkout, version, digest, *, fits=True):
    machine = this_machine()
    head = f"# fits {machine.system if fits else 'plan9-vax'} {machine.python}\n"
    path = checkout / "extensions/exllama_guardrails/docs/supply_chain/requirements.lock"
    path.write_text(f"{head}one=={version} \\\n    --hash=sha256:{digest}\n")


def _prepare(environment):
    """Runs the one step that concerns the list."""
    environment._make()
    (step,) = [one for one in environment._steps(False, False) if one.name == "runtime"]
    step.run()
    asked = [str(environment.python), "-m", "pip", "list", "--format", "json"]
    listed = json.loads(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)
    return {one["name"]: one["version"] for one in listed}["one"]


def test_where_the_list_fits_its_versions_come_and_not_the_newest(checkout, capfd):
    old, _ = _wheels(checkout / "links", "1.0", "1.1")
    _lock(checkout, "1.0", old)
    assert _prepare(Environment(checkout)) == "1.0"
    assert "no hashes" not in capfd.readouterr().out


def test_another_file_than_the_locked_one_is_refused_and_nothing_else_is_taken(checkout):
    _wheels(checkout / "links", "1.0", "1.1")
    _lock(checkout, "1.0", "0" * 64)
    with pytest.raises(UserError, match=r"HASHES|hash"):
        _prepare(Environment(checkout))


def test_where_the_list_does_not_fit_one_sentence_says_so_and_the_ranges_are_taken(checkout, capfd):
    old, _ = _wheels(checkout / "links", "1.0", "1.1")
    _lock(checkout, "1.0", old, fits=False)
    assert _prepare(Environment(checkout)) == "1.1"
    assert "requirements.lock holds no hashes for Python" in capfd.readouterr().out


def test_the_newest_versions_go_into_an_environment_of_their_own(checkout):
    old, _ = _wheels(checkout / "links", "1.0", "1.1")
    _lock(checkout, "1.0", old)
    environment = Environment(checkout, newest=True)
    assert environment.folder == checkout / f"env{NEWEST_FOLDER}"
    assert _prepare(environment) == "1.1"
    _wheels(checkout / "links", "1.2")
    assert _prepare(environment) == "1.2"
