"""The spatial split: which ground trains, validates and tests, for all grids at once and in true metres."""
