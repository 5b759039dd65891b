"""The loaded model as a second reader in the panel: the button, the result, and both verdicts of a turn."""

from __future__ import annotations

import time

import pytest
from exllama_guard.panel.desk import Desk
from host.second_world import OF_USE, World, wait_for
from panel.test_desk import Client, act
from second_reader.material import at_random, right_in


@pytest.fixture
def world(monkeypatch, tmp_path):
    made = []

    def make(says, **settings):
        made.append(World(monkeypatch, tmp_path, says, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


def client_of(here, tab):
    return Client(Desk(here.monitor, second=lambda: here.second), tab=tab)


def test_without_a_second_reader_nothing_is_offered(world):
    here = world(right_in(9))
    client = Client(Desk(here.monitor), tab="model")
    client.ask()
    assert "second" not in client.html or client.html["second"] == ""
    client.ask(act("measure-reader"))
    assert "once one is loaded" in str(client.last["say"])


def test_the_button_measures_with_progress_and_says_what_came_out(world):
    here = world(at_random, second_reader_wait_s=0.0)
    here.load(None)
    here.backend.wait = lambda: time.sleep(0.002)
    client = client_of(here, "model")
    client.ask()
    assert "not measured as a reader yet" in client.html["second"]
    assert "Measure this model as a reader" in client.html["second"]
    client.ask(act("measure-reader"))
    assert "Replies come first" in str(client.last["say"])
    assert client.last["busy"] is True
    assert "of 200 statements" in client.html["second"]
    assert "progressbar" in client.html["second"]
    client.ask(act("measure-reader"))
    assert "already" in str(client.last["say"])
    wait_for(lambda: here.second.view().progress is None)
    client.ask()
    assert client.last["busy"] is False
    assert "reads no better than chance" in client.html["second"]
    assert "not asked" in client.html["second"]
    assert "Its yes or no, alone" in client.html["second"]


def test_a_measurement_is_cancelled_by_its_button(world):
    here = world(right_in(9), second_reader_wait_s=0.0)
    here.backend.wait = lambda: time.sleep(0.02)
    here.load(None)
    client = client_of(here, "model")
    client.ask(act("measure-reader"))
    client.ask(act("cancel-measure-reader"))
    wait_for(lambda: here.second.view().progress is None)
    client.ask()
    assert "Cancelled; nothing was kept." in client.html["second"]


@pytest.mark.parametrize(
    ("setting", "said"), [("off", "The setting second_reader is off"), ("on", "It is asked while it is idle")]
)
def test_a_model_of_use_says_whether_it_is_asked(world, setting, said):
    here = world(right_in(9), second_reader=setting)
    here.load(OF_USE)
    client = client_of(here, "model")
    client.ask()
    assert said in client.html["second"]
    assert "makes the verdict better" in client.html["second"]


def test_the_line_and_the_card_show_both_verdicts(world):
    here = world(right_in(10))
    here.load(OF_USE)
    here.turn()
    here.traced()
    client = client_of(here, "turn")
    client.ask()
    assert "Review → Pass: your model reads s1 as supporting" in client.html["glance"]
    assert "<b>Review → Pass</b>" in client.html["t.acted"]
    assert "Your model reads s1 as supporting this (0.9" in client.html["t.acted"]
    assert "tokens in" in client.html["t.acted"]


def test_a_denied_statement_is_told_in_the_line_too(world):
    here = world(right_in(10))
    here.load(OF_USE)
    here.turn("It is valve 1 and 31 bar.")
    here.traced()
    client = client_of(here, "turn")
    client.ask()
    assert "Review → Fail: your model reads s1 as not supporting" in client.html["glance"]
