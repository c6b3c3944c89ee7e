"""Chips from memory maps: reading, sampling, augmentation."""
