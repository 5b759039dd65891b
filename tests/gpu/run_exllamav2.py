"""ExLlamaV2 for real: warm-up, reference check, canary, rotation, drift of each cache.

Run: python tests/gpu/run_exllamav2.py --models gpu-models --out gpu-results
"""

from __future__ import annotations

from dataclasses import replace

import gpu_record  # noqa: F401 - puts the extension on the path
import sections
from gpu_record import Record, options
from sections import spec_of

LIBRARY = "exllamav2"


def main() -> int:
    given = options(__doc__ or "")
    record = Record("exllamav2", given)
    fast = given.dry_run

    def spec(folder: str, cache_type: str = "fp16", context: int = 4096, **more):
        return spec_of(given, LIBRARY, folder, cache_type, context, **more)

    # first, because only a process's first generation is cold
    record.run("warmup", lambda values: sections.warmup(spec("fp16"), values, record, "warm-up, fp16"))
    record.run("reference", lambda values: _reference(spec, values, record))
    for folder in ("exl2-8.0", "exl2-4.0"):
        record.run(
            f"warmup:{folder}",
            lambda values, folder=folder: sections.warmup(spec(folder), values, record, f"warm-up, {folder}"),
        )
    for folder, cache in (("fp16", "fp16"), ("fp16", "q4"), ("exl2-8.0", "fp16"), ("exl2-4.0", "fp16")):
        record.run(
            f"canary:{folder}:{cache}",
            lambda values, f=folder, c=cache: sections.canary(spec(f, c), values, record, f"canary, {f} {c}"),
        )
    record.run(
        "rotation", lambda values: sections.rotation(spec("exl2-4.0"), values, record, "rotation, exl2-4.0")
    )
    if not fast:
        record.run(
            "prefill",
            lambda values: sections.prefill(spec("exl2-4.0", context=8192), values, record, "prefill"),
        )
    for cache in ("fp16", "q8", "q6", "q4"):
        up_to = 512 if fast else 8192
        record.run(
            f"drift:{cache}",
            lambda values, c=cache, n=up_to: sections.drift(
                spec("fp16", c, 8192), values, record, f"drift, cache {c}", n
            ),
        )
        if fast:
            break
    return record.close()


def _reference(spec, values, record: Record) -> None:
    """SDPA on (what a load takes by default without flash-attn) and off; then what `doctor` says."""
    from exllama_guard.commands.doctor import in_words
    from exllama_guard.core.checkup import checkup_of
    from exllama_guard.core.version_skew import observe_versions
    from exllama_guard.probes.model_files import installed_versions, observe_files

    logs = None
    for name, sdpa in (("sdpa", True), ("no_sdpa", False)):
        part: dict[str, object] = {}
        values[name] = part
        found, logs = sections.reference(spec("fp16", sdpa=sdpa), logs, part)
        installed = replace(installed_versions(), no_sdpa=not sdpa)  # as the model was loaded
        checkup = checkup_of([*found, observe_versions(installed), *observe_files(spec("fp16").path)])
        part["doctor"] = in_words(checkup).splitlines()
        part["doctor_finds"] = [one.symptom.id for one in checkup.found]
        drift = part["drift"]
        record.row(
            f"reference, {name}",
            f"NLL {part['nll_loader']:.3f} (transformers {part['nll_transformers']:.3f}), KL {drift.kl:.4f}, top-1 "
            f"{drift.top1:.3f}; V5 {found[0].verdict.value}, reads ahead: {found[1].verdict.value}; "
            f"doctor finds {', '.join(part['doctor_finds']) or 'nothing'}",
        )


if __name__ == "__main__":
    raise SystemExit(main())
