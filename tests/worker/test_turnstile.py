"""A question goes before everything that waits for the embedder, however busy it is."""

from __future__ import annotations

import threading
from contextlib import suppress

from exllama_guard.embedders.turnstile import Turnstile

LONG_S = 120.0


def test_a_question_passes_after_the_one_text_that_is_being_embedded():
    turnstile, order = Turnstile(), []
    inside, waits, go_on = threading.Event(), threading.Event(), threading.Event()

    def index():
        for number in range(50):
            with turnstile.passed():
                order.append(number)
                inside.set()
                assert waits.wait(LONG_S)
                assert go_on.wait(LONG_S)

    def ask():
        waits.set()
        with turnstile.passed(urgent=True):
            order.append("asked")

    indexing, asking = threading.Thread(target=index), threading.Thread(target=ask)
    indexing.start()
    assert inside.wait(LONG_S)
    asking.start()
    assert waits.wait(LONG_S)
    while not turnstile._urgent:  # until it stands in the line
        pass
    go_on.set()
    indexing.join(LONG_S)
    asking.join(LONG_S)
    assert order == [0, "asked", *range(1, 50)]


def test_one_at_a_time_and_what_raises_lets_the_next_in():
    turnstile, inside, most = Turnstile(), [0], [0]

    def work(urgent):
        for _ in range(200):
            with suppress(ValueError), turnstile.passed(urgent=urgent):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1
                raise ValueError

    threads = [threading.Thread(target=work, args=(number % 2 == 0,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG_S)
    assert not any(thread.is_alive() for thread in threads)
    assert most == [1]
