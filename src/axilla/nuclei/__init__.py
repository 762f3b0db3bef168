"""Nuclei: segmentation and morphometry."""
