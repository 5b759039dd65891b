"""The list of the host's names is whole: what the code asks the host for stands in it, or need not."""

from __future__ import annotations

import ast

from conftest import EXTENSION
from exllama_guard.host import names
from host_modules import host_modules

HOST = EXTENSION / "exllama_guard" / "host"
# Asked for with a default that is right where a version lacks it.
OPTIONAL = {
    "user_data_dir": "since 4.0; `user_data` before",
    "default_settings": "only compared with",
    "waiting": "of the lock that we put in the place of the host's (host/turn/generation_lock.py)",
}
MODULES = {"shared": "modules.shared", "text_generation": "modules.text_generation"}


def _asked_of_shared(tree):
    """Names read from `modules.shared` by attribute or getattr, however the module was reached."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr"):
            of, name = node.args[:2]
            if "shared" in ast.unparse(of) and isinstance(name, ast.Constant):
                yield str(name.value)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) in (
            "shared",
            "shared_module()",
            "webui.shared_module()",
        ):
            yield node.attr


def test_each_name_of_shared_that_the_code_reads_is_listed():
    listed = {one for name in names.NAMES if name.module == "modules.shared" for one in name.names}
    asked = {
        name
        for path in HOST.glob("*.py")
        for name in _asked_of_shared(ast.parse(path.read_text(encoding="utf-8")))
        if not name.startswith("__")
    }
    assert asked >= {"model", "model_name", "args", "settings"}
    assert asked - listed - set(OPTIONAL) == set()


def test_each_module_of_the_host_that_is_imported_is_listed_or_optional():
    listed = {name.module for name in names.NAMES}
    optional = {
        "modules.presets",
        "modules.utils",  # without it the panel says which lines to write by hand
        "modules.loaders",
        "modules.api",
        "modules.api.script",
        "modules.api.typing",
    }
    imported = {
        str(node.args[0].value)
        for path in HOST.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("import_module", "_module", "find_spec", "sys.modules.get")
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and str(node.args[0].value).startswith("modules")
    }
    assert imported
    assert imported - listed - optional == set()


def test_what_is_missing_is_told_in_one_sentence_with_what_is_off(monkeypatch):
    (shared,) = host_modules(monkeypatch, "shared")
    for name in names.NAMES:
        if name.module == "modules.shared":
            setattr(shared, name.names[0], None)
    del shared.stop_everything
    (sentence,) = names.missing_parts()
    assert sentence.count("modules.shared.") == 1
    assert "modules.shared.stop_everything (a reply that was stopped counts as complete)" in sentence
    assert sentence.count("modules.text_generation.") == 2
    assert "modules.tool_use" not in sentence  # no WebUI 4
    assert sentence.endswith(
        "Everything else works. Versions that have all of it are named in docs/verified.md."
    )


def test_a_host_that_has_everything_is_told_nothing(monkeypatch):
    for module in host_modules(monkeypatch, "shared", "text_generation", "models", "extensions", "chat"):
        for name in names.NAMES:
            if name.module == module.__name__:
                setattr(module, name.names[0], None)
    assert names.missing_parts() == ()
