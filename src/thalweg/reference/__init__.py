"""What params mean, read off their models: for `thalweg explain` and for the manual's reference."""
