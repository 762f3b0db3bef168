"""How the work tells that it goes on; silent unless somebody listens."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

T = TypeVar("T")


class Reporter(Protocol):
    """Told by every step what it does."""

    def track(self, items: Sequence[T], title: str) -> Iterable[T]:
        """Go through items, showing how far it is."""
        ...

    def epochs(self, total: int, title: str) -> AbstractContextManager[Callable[[Any], None]]:
        """Within the block, be told each epoch that ends."""
        ...

    def say(self, text: str) -> None:
        """One line for the person who waits."""
        ...

    def done(self, step: str, detail: str) -> None:
        """A step ended, or was done already."""
        ...


def _hear_nothing(_: Any) -> None:
    pass


class Silent:
    """Says nothing."""

    def track(self, items: Sequence[T], title: str) -> Iterator[T]:  # noqa: ARG002 - protocol
        """Go through items."""
        yield from items

    def epochs(
        self,
        total: int,  # noqa: ARG002 - protocol
        title: str,  # noqa: ARG002 - protocol
    ) -> AbstractContextManager[Callable[[Any], None]]:
        """Hear of each epoch."""
        return nullcontext(_hear_nothing)

    def say(self, text: str) -> None:
        """Nothing."""

    def done(self, step: str, detail: str) -> None:
        """Nothing."""
