"""The stages of dvc.yaml, one small script each."""
