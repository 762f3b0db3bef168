"""Other people's networks that find nuclei."""

from typing import Literal

NucleusTool = Literal["cellpose", "instanseg", "stardist"]
"""Each is an extra of the same name."""
