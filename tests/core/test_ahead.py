"""Values made ahead are the same values."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from axilla.core.ahead import ahead


def test_the_same_values_in_the_same_order():
    assert list(ahead(range(5))) == [0, 1, 2, 3, 4]
    assert list(ahead([])) == []


def test_the_next_value_is_made_while_one_is_used_and_no_more_than_that():
    made = []
    second = threading.Event()

    def numbers() -> Iterator[int]:
        for number in range(5):
            made.append(number)
            if number == 1:
                second.set()
            yield number

    values = ahead(numbers())
    assert next(values) == 0
    assert second.wait(5)
    assert made == [0, 1]
    values.close()


def test_an_error_comes_where_its_value_would_have_come():
    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("the second is bad")

    values = ahead(failing())
    assert next(values) == 1
    with pytest.raises(ValueError, match="the second is bad"):
        next(values)


def test_who_stops_early_closes_the_source():
    closed = []

    def numbers() -> Iterator[int]:
        try:
            yield from range(100)
        finally:
            closed.append(True)

    values = ahead(numbers())
    assert next(values) == 0
    values.close()
    assert closed == [True]
