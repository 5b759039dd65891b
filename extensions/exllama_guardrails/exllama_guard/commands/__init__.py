"""The command line, one file a command."""

from __future__ import annotations

import argparse

__all__ = ["command_parser"]


def command_parser(name: str, description: str, epilog: str = "") -> argparse.ArgumentParser:
    """An empty parser of the command `name`, whose help keeps the line breaks of both texts."""
    return argparse.ArgumentParser(
        prog=f"python3 extensions/exllama_guardrails {name}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
