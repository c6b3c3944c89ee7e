"""Thalweg: an unattended, reproducible pipeline for semantic segmentation of satellite images."""

__version__ = "0.1.0"
