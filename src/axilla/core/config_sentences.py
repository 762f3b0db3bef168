"""What is wrong with a study file, a sentence a key, in the words of the file."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any, TypeGuard, get_args

from pydantic import BaseModel, ValidationError

if TYPE_CHECKING:
    from collections.abc import Mapping

_BOUNDS = ("greater_than", "less_than", "greater_than_equal", "less_than_equal")


def sentences(
    error: ValidationError, model: type[BaseModel], *, unions: Mapping[str, str]
) -> list[str]:
    """One sentence a wrong key, each once, in the order of the file's keys.

    Parameters
    ----------
    error
        What pydantic found.
    model
        The model of the whole file, for the keys that are known.
    unions
        Top-level keys that take values of several kinds, and how these are written.
    """
    items = [_Item(item, model, unions) for item in error.errors()]
    meant = {(item.parents, item.nearest) for item in items if item.is_unknown}
    return list(
        dict.fromkeys(item.sentence() for item in items if not item.follows_from(meant, items))
    )


class _Item:
    """One of pydantic's errors."""

    def __init__(self, item: Any, model: type[BaseModel], unions: Mapping[str, str]) -> None:
        parts = [str(part) for part in item["loc"]]
        if parts and parts[0] in unions:
            tag = 2 if len(parts) > 1 and parts[1].isdigit() else 1  # behind its place in a list
            del parts[tag : tag + 1]  # the name of the union's member, which the user did not write
        self.parts = parts
        self.parents = tuple(parts[:-1])
        self.item = item
        whole = len(parts) == 1 or (len(parts) == 2 and parts[1].isdigit())
        self.may_be = unions.get(parts[0]) if whole else None
        self.is_unknown = item["type"] == "extra_forbidden"
        self.is_missing = item["type"] == "missing"
        self.known = _known_keys(model, self.parents) if self.is_unknown else []
        self.nearest = _nearest(parts[-1], self.known) if self.is_unknown else None

    def follows_from(
        self, meant: set[tuple[tuple[str, ...], str | None]], items: list[_Item]
    ) -> bool:
        """Whether another error says it: `cohrt` that `cohort` is missing, an item its list."""
        if self.is_missing:
            return (self.parents, self.parts[-1]) in meant
        if self.item["type"] == "too_short":
            return any(other.parents == tuple(self.parts) for other in items)
        return False

    def sentence(self) -> str:
        """What the user reads."""
        key = ".".join(self.parts)
        if self.is_unknown:
            if self.parts[-1] in self.known:
                return f"`{key}` does not go with the other keys of `{'.'.join(self.parents)}`"
            return f"unknown key `{key}`{_hint(self.nearest)}"
        if self.is_missing:
            return f"`{key}` is missing"
        message = str(self.item["msg"]).removeprefix("Value error, ")
        if not key:
            return message
        return f"`{key}` is {_shown(self.item['input'])}, but {self._allowed(message)}"

    def _allowed(self, message: str) -> str:
        kind = str(self.item["type"])
        if kind in _BOUNDS:
            return message.removeprefix("Input ")
        expected = self.may_be
        if expected is None and kind in {"literal_error", "unknown_name"}:
            expected = re.sub(r"'([^']*)'", r"\1", str(self.item["ctx"]["expected"]))
        if expected is not None:
            given = self.item["input"]
            words = self.item.get("ctx", {}).get("known") or re.findall(
                r"[\w+-]*[a-z][\w+-]*", re.sub(r"{.*?}", "", expected)
            )
            return f"may be {expected}{_hint(_nearest(given, words)) if _is_text(given) else ''}"
        if kind == "model_type":
            return "should be a mapping of keys"
        if kind == "string_type" and isinstance(self.item["input"], bool):
            return "should be text: put it in quotes"
        return message.removeprefix("Input ")


def _shown(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, dict):
        return "a mapping"
    return repr(value) if isinstance(value, str | int | float) else str(value)


def _is_text(value: Any) -> TypeGuard[str]:
    return isinstance(value, str)


def _nearest(text: str, known: list[str]) -> str | None:
    near = difflib.get_close_matches(text, [name for name in known if name != text], 1, 0.4)
    return near[0] if near else None


def _hint(nearest: str | None) -> str:
    return f" (did you mean `{nearest}`?)" if nearest else ""


def _known_keys(model: type[BaseModel], parents: tuple[str, ...]) -> list[str]:
    """Keys of the mapping at this place of the file."""
    models = [model]
    for part in parents:
        if part.isdigit():
            continue
        models = [
            inner
            for one in models
            if part in one.model_fields
            for inner in _models_in(one.model_fields[part].annotation)
        ]
    return [name for one in models for name in one.model_fields]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]
