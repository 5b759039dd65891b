"""ExLlamaV3 for real: warm-up, reference check, canary, page table, drift of each cache.

Run: python tests/gpu/run_exllamav3.py --models gpu-models --out gpu-results
"""

from __future__ import annotations

import threading

import gpu_record  # noqa: F401 - puts the extension on the path
import sections
from gpu_record import Record
from sections import StreamPath, begun, measure, opened, prose


def main() -> int:
    given, record, spec = begun(__doc__ or "", "exllamav3")
    measure(record, "warmup", sections.warmup, spec("exl3-4.0"), "warm-up, exl3-4.0")
    measure(record, "warmup:8.0", sections.warmup, spec("exl3-8.0"), "warm-up, exl3-8.0")
    record.run("reference", lambda values: _reference(spec, values, record))
    measure(record, "canary", sections.canary, spec("exl3-4.0"), "canary, exl3-4.0")
    record.run("pages", lambda values: _pages(spec, values, record))
    measure(record, "rotation", sections.rotation, spec("exl3-4.0"), "rotation, exl3-4.0")
    if not given.dry_run:
        measure(record, "prefill", sections.prefill, spec("exl3-4.0", context=8192), "prefill")
        for cache in ("fp16", "q8", "q4"):
            label = f"drift, cache {cache}"
            measure(record, f"drift:{cache}", sections.drift, spec("exl3-8.0", cache, 8192), label)
    return record.close()


def _reference(spec, values, record: Record) -> None:
    """The unquantised folder through ExLlamaV3 against transformers."""
    found, _ = sections.reference(spec("fp16-padded"), None, values)
    drift = values["drift"]
    record.row(
        "reference, fp16",
        f"NLL {values['nll_loader']:.3f} (transformers {values['nll_transformers']:.3f}), KL {drift.kl:.4f}, top-1 "
        f"{drift.top1:.3f}; V5 {found[0].verdict.value}, reads ahead: {found[1].verdict.value}",
    )


def _pages(spec, values, record: Record) -> None:
    """Fills pages with several prompts, reads the table through the adapter, puts in order, resets."""
    cancel = threading.Event()
    with opened(spec("exl3-4.0", context=4096)) as (mode, backend):
        path, text = StreamPath(mode), prose()
        first = path.run(text[:3000], 16, cancel)
        again = path.run(text[:3000], 16, cancel)
        for start in range(0, 30000, 2500):
            path.run(text[start : start + 2500], 300 if start == 0 else 8, cancel)
        values["full"] = backend.cache_usage()
        backend.defragment_cache()
        values["after_defragment"] = backend.cache_usage()
        kept = path.run(text[:3000], 16, cancel)
        backend.reset_cache()
        values["after_reset"] = backend.cache_usage()
        after = path.run(text[:3000], 16, cancel)
        values["ttft_ms"] = {
            name: run.ttft_s * 1e3 for name, run in (("first", first), ("reused", again), ("reset", after))
        }
        values["same_text"] = first.text == again.text == kept.text == after.text
        record.row(
            "page table",
            f"{values['full'].used_tokens} tokens in pages, {values['full'].scattered:.2f} scattered, "
            f"{values['after_defragment'].scattered:.2f} after defragment, {values['after_reset'].used_tokens} after "
            f"reset; prompt {first.ttft_s * 1e3:.1f} ms first, {again.ttft_s * 1e3:.1f} reused, "
            f"{after.ttft_s * 1e3:.1f} after reset; same text: {values['same_text']}",
        )


if __name__ == "__main__":
    raise SystemExit(main())
