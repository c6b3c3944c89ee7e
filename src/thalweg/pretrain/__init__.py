"""Encoders pre-trained without labels, on ground that members may learn from and on nothing else."""
