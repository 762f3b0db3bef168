"""The UCSB breast images: a cohort table from their names.

58 H&E images of 896x768 pixels, benign or malignant as a whole, from tissue microarrays; the
multiple-instance benchmark of Ilse 2018 (doi:10.48550/arXiv.1802.04712, section 4.3). Images:
Gelasca 2008 (doi:10.1109/ICIP.2008.4712120).
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from axilla.core import store
from axilla.core.errors import CohortError

_NAME = re.compile(r"(?P<array>ytma\d+)_\d+_(?P<label>benign|malignant)\d+_ccd")


def write_ucsb_table(images: Path, table: Path) -> int:
    """Write patient_id (the image's name), label and array; return how many images there are.

    Raises
    ------
    CohortError
        The folder holds no such image.
    """
    rows = [
        {"patient_id": path.stem, "label": match["label"], "array": match["array"]}
        for path in sorted(images.glob("*"))
        if path.suffix.lower() in {".png", ".tif"} and (match := _NAME.fullmatch(path.stem))
    ]
    if not rows:
        raise CohortError(
            "the folder holds no image named ytma<array>_<date>_<benign|malignant><k>_ccd.",
            "Give the folder of the UCSB breast images (.png or .tif).",
            file=images,
        )
    store.write_text(table, pd.DataFrame(rows).to_csv(index=False))
    return len(rows)
