"""Reading a YAML mapping strictly: a key that stands twice is an error, not the last one's win."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from axilla.core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


class _OnceLoader(yaml.SafeLoader):
    """Plain values only, and every key of a mapping once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(
                    problem=f"the key `{key.value}` stands twice", problem_mark=key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep=deep)


def read_mapping(path: Path) -> dict[Any, Any]:
    """The keys and values of a YAML file.

    Raises
    ------
    ConfigError
        The file cannot be read, is not valid YAML, names a key twice, or holds no mapping.
    """
    try:
        # A loader of plain values, as `yaml.safe_load` uses.
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_OnceLoader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise ConfigError(
            f"the study file cannot be read ({error.strerror}).",
            "Give the path of a study.yaml.",
            file=path,
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            "the study file is not UTF-8 text.", "Save it again as UTF-8.", file=path
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(
            f"the study file is not valid YAML: {_where(error)}.",
            "Correct the indentation, the quotes or the key there.",
            file=path,
        ) from error
    if not isinstance(raw, dict):
        raise ConfigError(
            "the study file holds no keys.",
            "It needs at least `cohort:` and `endpoint:`.",
            file=path,
        )
    return raw


def _where(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return (str(error).splitlines() or ["unreadable"])[0]
