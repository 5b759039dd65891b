"""From a bare Python to the running program: picks the command, makes the environment, runs inside it."""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from exllama_guard.core.alarms import without_alarms
from exllama_guard.core.terminal import plain_streams
from exllama_guard.errors import UserError
from exllama_guard.standalone.environment import (
    FOLDER_VARIABLE,
    NO_DEPENDENCIES,
    TORCH,
    Choices,
    Environment,
    has_nvidia_gpu,
    requirement_lines,
    requirement_name,
)

__all__ = ["commands", "is_complete", "main", "parser", "run_inside"]

_INSIDE = "EXLLAMA_GUARDRAILS_INSIDE"  # set for the process that was started in the environment


def main(extension: Path, argv: Sequence[str]) -> int:
    """Exit status of the command that `argv` names, of the embedded default where it names none."""
    without_alarms()
    with plain_streams():
        return _run(extension, argv)


def _run(extension: Path, argv: Sequence[str]) -> int:
    try:
        if argv and not argv[0].startswith("-"):
            return _command(extension, argv[0], argv[1:])
        return _default(extension, argv)
    except UserError as error:
        print(f"\n{error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(
            f"\nThe package {error.name} is missing in {sys.executable}; run this with the interpreter "
            "of the environment that has it, or from a checkout, which makes one.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("\nInterrupted; run the same command again and it goes on from here.", file=sys.stderr)
        return 130


def commands(extension: Path) -> dict[str, str]:
    """Each command's name with its summary, read from the files and not imported.

    A command's file begins with its name in backticks; the others there are what commands share.
    """
    found = {}
    for path in sorted((extension / "exllama_guard" / "commands").glob("[a-z]*.py")):
        first = path.read_text(encoding="utf-8").splitlines()[0]
        if first.startswith('"""`'):
            found[path.stem.replace("_", "-")] = first.strip('"').partition(": ")[2].rstrip(".")
    return found


def parser(extension: Path) -> argparse.ArgumentParser:
    """The command line of the embedded default, with the set-up's options."""
    from exllama_guard.standalone import run

    made = run.parser()
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    listed = "\n".join(f"  {name:12} {summary}" for name, summary in commands(extension).items())
    made.epilog = f"other commands (each has --help):\n{listed}"
    webui = made.add_argument_group("the real TextGen WebUI")
    webui.add_argument(
        "--webui", type=Path, metavar="PATH", help="install into this WebUI (4.9, 4.7, 3.23) and start it"
    )
    webui.add_argument("--webui-python", type=Path, metavar="PATH", help="the WebUI's interpreter")
    webui.add_argument("webui_arguments", nargs="*", metavar="-- ARGUMENTS", help="passed on to the WebUI")
    setup = made.add_argument_group("set-up", f"the environment is .venv, or the folder in {FOLDER_VARIABLE}")
    setup.add_argument("--torch-index", default="", metavar="URL", help="where PyTorch is taken from")
    setup.add_argument("--allow-cuda", action="store_true", help="CUDA packages (several GB) may be fetched")
    setup.add_argument("--setup-only", action="store_true", help="install what is missing and stop")
    return made


def _default(extension: Path, argv: Sequence[str]) -> int:
    from exllama_guard.standalone import run, webui_install

    given = parser(extension).parse_args(argv)
    if given.webui is not None:
        return webui_install.start_webui(
            given.webui,
            extension,
            given.webui_python,
            given.webui_arguments,
            setup_only=given.setup_only,
        )
    if given.webui_arguments:
        raise UserError(f"'{given.webui_arguments[0]}' is only passed on with --webui; see --help.")
    options = run.options_of(given)
    run.check_paths(options)
    if run_inside(extension):
        return 0 if given.setup_only else run.run(options)
    environment = Environment(extension.parents[1], Choices(given.torch_index, given.allow_cuda))
    python = environment.prepare()
    return 0 if given.setup_only else _again(python, extension, argv)


def _command(extension: Path, name: str, argv: Sequence[str]) -> int:
    known = commands(extension)
    if name not in known:
        raise UserError(f"There is no command '{name}'; there are {', '.join(known)}. See --help.")
    if not run_inside(extension):
        return _again(Environment(extension.parents[1]).prepare(), extension, [name, *argv])
    module = importlib.import_module(f"exllama_guard.commands.{name.replace('-', '_')}")
    return int(module.run(argv))


def run_inside(extension: Path) -> bool:
    """True when this process can go on: it was started by the set-up, or everything is installed here."""
    return os.environ.get(_INSIDE) == "1" or is_complete(extension)


def is_complete(extension: Path) -> bool:
    """True in an environment of its own where each required package is installed."""
    file = extension.parents[1] / "requirements.txt"
    if not file.is_file():  # inside a WebUI, without the checkout around it: its environment is used
        return True
    if sys.prefix == sys.base_prefix:
        return False
    wanted = [TORCH, *NO_DEPENDENCIES, *requirement_lines(file, cuda=has_nvidia_gpu())]
    try:
        for line in wanted:
            metadata.version(requirement_name(line))
    except metadata.PackageNotFoundError:
        return False
    return True


def _again(python: Path, extension: Path, argv: Sequence[str]) -> int:
    """Runs the same command with the environment's interpreter."""
    command = [str(python), str(extension), *argv]
    environment = {**os.environ, _INSIDE: "1"}
    if os.name != "nt":
        sys.stdout.flush()
        os.execve(command[0], command, environment)  # noqa: S606 - the environment's own interpreter
    return subprocess.run(command, env=environment, check=False).returncode  # noqa: S603 - the same
