from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from exllama_guard.errors import VerifierError
from exllama_guard.verifiers.built_in import TOKENIZER, WEIGHTS, BuiltInVerifier

EVIDENCE = "The Danube is 2,850 km long. It rises in Germany and flows into the Black Sea in Romania."
TRUE = [
    (EVIDENCE, "The Danube is 2,850 km long."),
    (EVIDENCE, "The Danube flows into the Black Sea."),
    ("Ann: Can you buy some butter? Mike: Ok, I will.", "Mike agrees to buy butter."),
    ("The company raised its dividend to $0.13 per share.", "The dividend was increased to $0.13 per share."),
]
FALSE = [
    (EVIDENCE, "The Danube is 1,850 km long."),
    (EVIDENCE, "The Danube flows into the North Sea."),
    ("Ann: Can you buy some butter? Mike: Ok, I will.", "Mike refuses to buy butter."),
    ("The company raised its dividend to $0.13 per share.", "The dividend was reduced to $0.13 per share."),
]


@pytest.fixture(scope="module")
def verifier():
    return BuiltInVerifier()


def test_rows_are_distributions_in_the_order_of_the_pairs(verifier):
    pairs = [*TRUE, *FALSE]
    found = verifier.entailment(pairs)
    assert found.shape == (8, 3)
    assert found.dtype == np.float32
    assert np.allclose(found.sum(axis=1), 1.0, atol=1e-5)
    single = np.concatenate([verifier.entailment([pair]) for pair in pairs])
    assert np.allclose(found, single, atol=1e-3)


def test_a_changed_fact_lowers_the_entailment_of_its_claim(verifier):
    true, false = verifier.entailment(TRUE)[:, 2], verifier.entailment(FALSE)[:, 2]
    assert (true > false + 0.1).all(), (true, false)


def test_empty_long_and_foreign_text_give_distributions(verifier):
    odd = [("", ""), ("word " * 5000, "claim " * 2000), ("Ελληνικά 日本語 \x00 😀", "ß\n\n"), (EVIDENCE, "")]
    found = verifier.entailment(odd)
    assert np.isfinite(found).all()
    assert np.allclose(found.sum(axis=1), 1.0, atol=1e-5)
    assert verifier.entailment([]).shape == (0, 3)


def test_threads_may_ask_at_once(verifier):
    fresh = BuiltInVerifier()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: fresh.entailment(TRUE), range(8)))
    assert all(np.allclose(one, found[0], atol=1e-4) for one in found)


def test_missing_and_damaged_files_are_told_with_the_remedy(tmp_path):
    with pytest.raises(VerifierError, match="install the extension again"):
        BuiltInVerifier(tmp_path / "absent.safetensors", TOKENIZER).entailment(TRUE)
    broken = tmp_path / "verifier.safetensors"
    broken.write_bytes(b"not weights")
    with pytest.raises(VerifierError, match="install the extension again"):
        BuiltInVerifier(broken, TOKENIZER).entailment(TRUE)


def test_the_shipped_weights_stay_below_25_megabytes():
    assert WEIGHTS.stat().st_size + TOKENIZER.stat().st_size <= 25_000_000
