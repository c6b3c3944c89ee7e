"""Measurements against peers and limits; each prints a table and exits non-zero where a limit is missed."""
