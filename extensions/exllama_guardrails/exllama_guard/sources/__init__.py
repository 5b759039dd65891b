"""Where snippets come from."""

from __future__ import annotations

from exllama_guard.sources.collect import Gathered, collect_snippets
from exllama_guard.sources.handed_over import Inbox, snippets_from
from exllama_guard.sources.knowledge_document import Document, read_document
from exllama_guard.sources.knowledge_folder import KnowledgeFolder
from exllama_guard.sources.knowledge_text import SUFFIXES
from exllama_guard.sources.marked_block import OPENING, find_blocks, format_block, without_blocks

__all__ = [
    "Document",
    "Gathered",
    "Inbox",
    "KnowledgeFolder",
    "OPENING",
    "SUFFIXES",
    "collect_snippets",
    "find_blocks",
    "format_block",
    "read_document",
    "snippets_from",
    "without_blocks",
]
