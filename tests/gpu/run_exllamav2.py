"""ExLlamaV2 for real: warm-up, reference check, canary, rotation, drift of each cache.

Run: python tests/gpu/run_exllamav2.py --models gpu-models --out gpu-results
"""

from __future__ import annotations

from dataclasses import replace

import gpu_record  # noqa: F401 - puts the extension on the path
import sections
from gpu_record import Record
from sections import begun, measure


def main() -> int:
    given, record, spec = begun(__doc__ or "", "exllamav2")
    fast = given.dry_run
    # first, because only a process's first generation is cold
    measure(record, "warmup", sections.warmup, spec("fp16"), "warm-up, fp16")
    record.run("reference", lambda values: _reference(spec, values, record))
    for folder in ("exl2-8.0", "exl2-4.0"):
        measure(record, f"warmup:{folder}", sections.warmup, spec(folder), f"warm-up, {folder}")
    for folder, cache in (("fp16", "fp16"), ("fp16", "q4"), ("exl2-8.0", "fp16"), ("exl2-4.0", "fp16")):
        name = f"canary:{folder}:{cache}"
        measure(record, name, sections.canary, spec(folder, cache), f"canary, {folder} {cache}")
    measure(record, "rotation", sections.rotation, spec("exl2-4.0"), "rotation, exl2-4.0")
    if not fast:
        measure(record, "prefill", sections.prefill, spec("exl2-4.0", context=8192), "prefill")
    for cache in ("fp16",) if fast else ("fp16", "q8", "q6", "q4"):
        label, up_to = f"drift, cache {cache}", 512 if fast else 8192
        measure(record, f"drift:{cache}", sections.drift, spec("fp16", cache, 8192), label, up_to)
    return record.close()


def _reference(spec, values, record: Record) -> None:
    """SDPA on (what a load takes by default without flash-attn) and off; then what `doctor` says."""
    from exllama_guard.commands.doctor import in_words
    from exllama_guard.probes.doctor.checkup import checkup_of
    from exllama_guard.probes.doctor.detectors.version_skew import observe_versions
    from exllama_guard.probes.doctor.model_files import installed_versions, observe_files

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
