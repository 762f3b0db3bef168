from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from axilla.study.instances import SlideArrays


def arrays(names: str, *, hold_bytes: int | None) -> tuple[SlideArrays, list[str]]:
    asked: list[str] = []

    def load(name: str) -> NDArray[np.float32]:
        asked.append(name)
        return np.full((5, 4), ord(name), np.float32)  # 80 bytes

    return SlideArrays(list(names), load, hold_bytes=hold_bytes), asked


def test_what_fits_is_read_once() -> None:
    slides, asked = arrays("abc", hold_bytes=240)
    for _ in range(3):
        assert [slides[name][0, 0] for name in slides] == [97, 98, 99]
    assert asked == ["a", "b", "c"]
    assert len(slides) == 3


def test_beyond_it_the_first_stay_and_one_more() -> None:
    slides, asked = arrays("abcd", hold_bytes=170)
    for name in "abcdabcdd":
        assert slides[name][0, 0] == ord(name)
    assert asked == ["a", "b", "c", "d", "c", "d"]


def test_a_slide_that_never_fits_is_held_while_it_is_in_use() -> None:
    slides, asked = arrays("ab", hold_bytes=10)
    for name in "aaabbba":
        assert slides[name].shape == (5, 4)
    assert asked == ["a", "b", "a"]


def test_with_nothing_said_the_machine_decides() -> None:
    slides, asked = arrays("ab", hold_bytes=None)
    for name in "abab":
        assert len(slides[name]) == 5
    assert asked == ["a", "b"]
