"""Which script a text is in, for a quick look."""

from __future__ import annotations

import re


def has_other_script(text: str) -> bool:
    """Whether letters of another script than the Latin one are in a text."""
    return not text.isascii() and _OTHER_SCRIPT.search(text) is not None


_OTHER_SCRIPT = re.compile("[\u0400-\u1fff\u2e80-\uffef]")
