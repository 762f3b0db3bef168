"""Values used last, held."""

from __future__ import annotations

import threading

from axilla.core.recent import Recent


def test_a_value_is_made_once_while_it_is_held() -> None:
    made: list[int] = []
    recent: Recent[int] = Recent(2)
    for key in (1, 2, 1, 2):
        assert recent.get(key, lambda key=key: made.append(key) or 10 * key) == 10 * key
    assert made == [1, 2]


def test_the_one_not_asked_for_longest_goes() -> None:
    made: list[int] = []
    recent: Recent[int] = Recent(2)
    for key in (1, 2, 1, 3, 1, 2):
        recent.get(key, lambda key=key: made.append(key) or key)
    assert made == [1, 2, 3, 2]
    assert len(recent) == 2


def test_many_threads_get_the_same_value() -> None:
    recent: Recent[object] = Recent(4)
    found: list[object] = []
    gate = threading.Barrier(8)

    def ask() -> None:
        gate.wait()
        found.append(recent.get("key", object))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1
