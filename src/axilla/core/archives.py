"""Archives that hold more than they say, before anything of them is unpacked."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def is_packed(path: Path) -> bool:
    """Whether a file is a zip archive that unpacks to more than its own size.

    `torch.save` writes numbers as they are: a small file that is packed was made by something else,
    perhaps to exhaust the machine. False for what is no archive, or a damaged one, which whoever
    opens it tells.
    """
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return False
    return (
        any(member.compress_type != zipfile.ZIP_STORED for member in members)
        or sum(member.file_size for member in members) > path.stat().st_size
    )
