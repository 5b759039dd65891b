"""How long others have waited for the host's lock, which decides whether a repair may start."""

from __future__ import annotations

import threading
import time
import types

from exllama_guard.host.turn.generation_lock import WatchedLock, watched_lock


def test_nobody_waits_for_a_free_lock_or_one_that_is_only_held():
    lock = WatchedLock(threading.Lock())
    assert lock.longest_wait_s() == 0.0
    with lock:
        assert lock.longest_wait_s() == 0.0


def test_the_first_of_those_who_wait_counts_and_background_work_does_not():
    lock = WatchedLock(threading.Lock())
    lock.acquire()
    patient = threading.Thread(target=lambda: (lock.acquire(timeout=0.5), None))
    patient.start()
    time.sleep(0.1)
    assert lock.longest_wait_s() == 0.0
    waiting = threading.Thread(target=lambda: (lock.acquire(), lock.release()))
    waiting.start()
    time.sleep(0.2)
    assert 0.1 < lock.longest_wait_s() < 2.0
    patient.join()
    lock.release()
    waiting.join(120)
    assert lock.longest_wait_s() == 0.0


def test_a_kept_lock_that_is_given_back_is_free_once_it_is_kept_no_more():
    lock = WatchedLock(threading.Lock())
    lock.acquire()
    with lock.kept(), lock.kept():
        lock.release()
        assert not lock.acquire(timeout=0.01)
    assert lock.acquire(timeout=1.0)
    with lock.kept():
        pass
    assert lock.locked()  # who holds it still does
    lock.release()
    assert not lock.locked()


def test_the_hosts_lock_is_watched_once_and_stays_the_same_lock():
    shared = types.SimpleNamespace(generation_lock=threading.Lock())
    plain = shared.generation_lock
    plain.acquire()  # taken before it was watched
    watched = watched_lock(shared)
    assert shared.generation_lock is watched is watched_lock(shared)
    watched.release()
    assert not plain.locked()
    assert watched_lock(types.SimpleNamespace(generation_lock=None)) is None
