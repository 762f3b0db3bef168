"""Axillary lymph node metastasis predicted from the core-needle biopsy of the primary tumour."""

__version__ = "0.1.0"
