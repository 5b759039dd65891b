"""The pace of live scores."""

from exllama_guard.monitor.pacing import LATE_S, LONGEST_PAUSE_S, SHARE, STEP_PAUSE_S, pause_s
from hypothesis import given
from hypothesis import strategies as st

SECONDS = st.floats(0, 100)


@given(SECONDS, SECONDS)
def test_a_scored_reply_pays_its_share_or_waits_the_longest_pause(worked_s, running_s):
    pause = pause_s(worked_s, running_s, scored=True)
    assert pause == LONGEST_PAUSE_S or worked_s <= pause * SHARE * 1.001


@given(SECONDS, SECONDS)
def test_a_reply_without_a_score_never_waits_longer_than_one_with_it(worked_s, running_s):
    assert pause_s(worked_s, running_s, scored=False) <= pause_s(worked_s, running_s, scored=True)


@given(st.floats(0, 0.1), st.floats(0, 2))
def test_a_reply_without_a_score_gets_one_some_seconds_after_it_is_late(worked_s, running_s):
    steps = 0
    while running_s < LATE_S + 20 * STEP_PAUSE_S:
        running_s += max(0.001, pause_s(worked_s, running_s, scored=False))
        steps += 1
    assert steps >= 20
