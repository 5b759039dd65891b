"""With on_fail set, a reply waits for the second opinion up to its limit, and the API carries it."""

from __future__ import annotations

import threading
import time

import pytest
from exllama_guard.core.measures import Gate
from exllama_guard.core.turns import Action
from exllama_guard.host.acting import api as acting_api
from exllama_guard.host.session import Session, use_session
from exllama_guard.host.turn.hand_over import hand_over
from exllama_guard.host.turn.observe import observing
from host.second_world import DOCUMENT, MODEL, OF_USE, QUESTION, RIGHT, WRONG, World
from second_reader.material import right_in


class ActingWorld(World):
    """Its replies are observed and acted on; `says_next` is what the model writes."""

    def start(self, says_next):
        self.says_next = says_next
        self.session = Session(self.monitor, observing=True, second=self.second)
        use_session(self.session)
        self.host.text_generation._generate_reply = observing(self.session)(self._written)
        self.load(OF_USE)

    def _written(
        self, question, state, stopping_strings=None, is_chat=False, escape_html=False, for_ui=False
    ):
        yield self.says_next

    def asks(self):
        """A chat turn by the API with the document handed over; what the client got, and its report."""
        state = {"history": {"internal": [[QUESTION, ""]]}, "max_new_tokens": 8, "unique_id": "c"}
        hand_over([{"text": DOCUMENT}], chat_id="c")
        reports: list[dict] = []
        token = acting_api._reports.set(reports)
        try:
            texts = list(self.host.generate_reply(QUESTION, state, None, is_chat=True, for_ui=True))
        finally:
            acting_api._reports.reset(token)
        return texts, reports

    def close(self):
        super().close()
        use_session(None)


@pytest.fixture
def world(monkeypatch, tmp_path):
    made = []

    def make(answer, **settings):
        made.append(ActingWorld(monkeypatch, tmp_path, right_in(10), **settings))
        made[-1].start(answer)
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_an_answer_that_the_model_denies_is_acted_on_as_failed_and_the_api_says_so(world):
    here = world(WRONG, on_fail="refuse", second_reader_limit_s=30.0, act_wait_ms=30_000.0)
    assert here.monitor.model == MODEL
    texts, (report,) = here.asks()
    assert texts[-1].startswith("The model's")
    assert report["verdict"] == "FAIL"
    assert (report["second_reader"]["before"], report["second_reader"]["after"]) == ("REVIEW", "FAIL")
    kept = here.traced()
    assert kept.acted.done is Action.REFUSE
    assert kept.second_reader is not None
    asked = len(here.backend.asked)
    time.sleep(0.3)
    assert len(here.backend.asked) == asked  # not asked a second time
    assert len(here.trace.reports) == 1


def test_where_nothing_is_done_because_of_a_verdict_no_reply_waits(world):
    here = world(RIGHT, second_reader_wait_s=30.0)
    texts, (report,) = here.asks()
    assert texts == [RIGHT]
    assert "second_reader" not in report
    assert here.backend.asked == []


def test_an_opinion_that_takes_too_long_holds_no_reply_and_comes_later(world):
    here = world(WRONG, on_fail="refuse", second_reader_limit_s=0.2, act_wait_ms=30_000.0)
    go_on = threading.Event()
    here.backend.wait = lambda: go_on.wait(60)
    started_s = time.monotonic()
    texts, (report,) = here.asks()
    assert time.monotonic() - started_s < 5.0
    assert texts[-1] == WRONG  # a review, and only failed answers are refused
    assert "second_reader" not in report
    go_on.set()
    later = here.traced()
    assert later.second_reader.after is Gate.FAIL
    assert later.acted is None or later.acted.done is Action.SHOW
    assert acting_api.summary_of(later)["second_reader"]["after"] == "FAIL"
