"""Published weights in the local Hugging Face cache, or downloaded into it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from axilla.core.errors import WeightsError

if TYPE_CHECKING:
    from axilla.features.spec import Published


def cached_file(published: Published) -> Path | None:
    """The weights in the local cache, None where they are not in it; nothing is downloaded."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    for repository in (published.repository, *published.spellings):
        for name in dict.fromkeys(("model.safetensors", published.file)):
            found = try_to_load_from_cache(repository, name)
            # Where a download found no such file, the cache remembers that with an object.
            if isinstance(found, str) and Path(found).is_file():
                return Path(found)
    return None


def hub_file(encoder: str, published: Published) -> Path:
    """The weights in the local cache, downloaded where they are not in it yet.

    Raises
    ------
    WeightsError
        They are not in the cache and cannot be downloaded: no network, or no access.
    """
    cached = cached_file(published)
    if cached is not None:
        return cached
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import GatedRepoError, HfHubHTTPError
    except ImportError as error:
        raise WeightsError(
            f"the weights of {encoder} need the library huggingface_hub, which is not installed.",
            "Run: pip install 'axilla[timm]'; or set encoder.weights to a file of weights.",
        ) from error
    # Of the HTTP library that huggingface_hub uses, which is another from version to version.
    http_error = HfHubHTTPError.__mro__[1]
    try:
        return Path(hf_hub_download(published.repository, published.file))
    except GatedRepoError as error:
        raise WeightsError(
            f"the weights of {encoder} are given out by their authors, and this account has no "
            "access yet.",
            f"{how_to_get_access(published)} Or set encoder.weights to a file ({published.file}).",
        ) from error
    except (HfHubHTTPError, http_error, OSError, ValueError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        access = f"{how_to_get_access(published)} Or fetch" if published.gated else "Or fetch"
        raise WeightsError(
            f"the weights of {encoder} are not on this machine and could not be downloaded "
            f"({first}).",
            f"Either connect this machine to the network once. {access} {published.file} of "
            f"{published.repository} elsewhere and set encoder.weights to its path.",
        ) from error


def how_to_get_access(published: Published) -> str:
    """What a user does to be allowed to download gated weights."""
    return (
        f"Accept the terms on huggingface.co/{published.repository} with your account, then log "
        "in here: hf auth login."
    )
