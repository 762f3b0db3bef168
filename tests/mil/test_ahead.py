from __future__ import annotations

import threading

import pytest

from axilla.mil.ahead import read_ahead


def test_the_items_are_the_same_in_the_same_order():
    assert list(read_ahead(iter(range(50)))) == list(range(50))
    assert list(read_ahead(iter([]))) == []


def test_an_error_comes_where_its_item_would_have_come():
    def items():
        yield 1
        yield 2
        raise ValueError("third")

    got = []
    with pytest.raises(ValueError, match="third"):
        got.extend(iter_into(got, read_ahead(items())))
    assert got == [1, 2]


def iter_into(got, items):
    for item in items:
        got.append(item)
    return []


def test_whoever_stops_early_leaves_no_thread_and_little_is_made():
    made = []

    def items():
        for i in range(1000):
            made.append(i)
            yield i

    before = threading.active_count()
    ahead = read_ahead(items(), depth=2)
    assert next(ahead) == 0
    ahead.close()
    assert threading.active_count() == before
    assert len(made) <= 5
