"""What frozen features are worth: nearest neighbours and linear probes, on labelled pictures and on a project's chips.

Nothing of an encoder is trained here, but for the task that fine-tunes one on pictures (`task.py`).
"""
