"""Parts that several architectures share. Every member depends on them, so that they should seldom change."""
