"""Active sampling: which labelled chips are worth a training step. One score per file, its name is its name in params.

Each `active/scores/<name>.py` has `score(pool) -> (B,)`, higher is worth more, NaN where nothing can be said, and
NEEDS, what it wants of a pool beside its targets: `logits`, `passes` (several, by dropout), `irreducible`. Everything
is computed in evaluation mode without gradients: a scored chip leaves no trace in the network.

Source: Mindermann et al. 2022, Prioritized Training on Points that are Learnable, Worth Learning, and Not Yet Learnt,
https://arxiv.org/abs/2206.07137 (the pool per step, and the reducible holdout loss).
"""
