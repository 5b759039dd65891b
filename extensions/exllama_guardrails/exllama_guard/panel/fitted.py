"""The limits that a setting left empty stands for, in words: they come from the fit, not from a person."""

from __future__ import annotations

from functools import cache

__all__ = ["fitted_limit", "support_limits"]

_VARIANTS = ("words", "sentences", "plain")  # of the fitted weights: by what the embedder could measure


@cache
def fitted_limit(name: str) -> str:
    """The fitted value of a setting, "0.11" or a span such as "0.61–0.62"; "" where none is fitted."""
    from exllama_guard.grounding import load_relevance_weights
    from exllama_guard.grounding.support import load_weights

    if name == "relevance_limit":
        return f"{load_relevance_weights().limit:.2f}"
    if name not in ("support_pass", "support_fail"):
        return ""
    weights = [load_weights(variant) for variant in _VARIANTS]
    points = [points for one in weights for points in (one.points, one.verifier.points)]
    values = [one.accept if name == "support_pass" else one.reject for one in points]
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low}–{high}"


def support_limits(accept: float | None, reject: float | None) -> str:
    """Both limits of support, set or fitted."""
    passes = fitted_limit("support_pass") if accept is None else f"{accept:.2f}"
    fails = fitted_limit("support_fail") if reject is None else f"{reject:.2f}"
    by = " (fitted)" if accept is None or reject is None else ""
    return f"pass ≥ {passes}, fail < {fails}{by}; the weakest sentence decides"
