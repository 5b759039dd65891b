"""How much a reply loses beside work is read off its own tokens."""

import pytest
from beside import Job, lost_beside


def times(*steps):
    out = [0.0]
    for step in steps:
        out.append(out[-1] + step)
    return out


def test_what_the_tokens_beside_a_job_took_more_is_lost():
    found = lost_beside(times(0.01, 0.01, 0.03, 0.01, 0.01, 0.01), [Job("_score_live", 0.025, 0.045, 20.0)])
    assert found.tokens == 1
    assert found.share == pytest.approx(0.02 / 0.08)


def test_a_reply_without_work_beside_it_loses_nothing():
    assert lost_beside(times(0.01, 0.02, 0.01), [Job("_score_final", 1.0, 2.0, 5.0)]) == (0.0, 0)


def test_a_reply_that_never_was_alone_tells_nothing():
    assert lost_beside(times(0.01, 0.02), [Job("_prepare", -1.0, 2.0, 5.0)]) == (0.0, 0)
