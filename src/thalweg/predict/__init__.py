"""Maps of any image by a trained model alone: no project, no DVC, no training data.

`source` opens what predicts, `thalweg.prepare` makes scenes of images, `apply` maps them, `estimate` says what it
takes.
"""
