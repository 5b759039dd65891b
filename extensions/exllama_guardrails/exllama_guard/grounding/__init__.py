"""Does an answer rest on its snippets: support, ΔS, coverage, citations, relevance, the verdict."""
