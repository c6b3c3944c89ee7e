"""How unsure members are: entropy, mutual information and margin of their probabilities, float32 and stable.

Members' probabilities are (M, K, …), those of one map (K, …).
"""

import numpy as np

_TINY = np.float32(1e-12)


def entropy(probs: np.ndarray) -> np.ndarray:
    """Shannon entropy (…) of (K, …), over that of the uniform distribution: 0 (sure) … 1 (no idea)."""
    return np.asarray((_nats(probs, 0) / np.float32(np.log(len(probs)))).clip(0, 1))


def mutual_information(members: np.ndarray, said: np.ndarray) -> np.ndarray:
    """What the members' disagreement adds to the doubt (…), 0…1: of (M, K, …).

    The entropy of their mean less the mean of their entropies, over that of the uniform distribution: 0 where all say
    the same, however unsure each is.

    Args:
        members: (M, K, …); what is not `said` has no say.
        said: (M, …) bool.

    Source: Houlsby, Huszár, Ghahramani, Lengyel 2011, Bayesian Active Learning for Classification and Preference
    Learning, eq. 2, https://arxiv.org/abs/1112.5745; with M members it is at most log M.
    """
    members = np.where(said[:, None], members, 0).astype(np.float32)
    count = np.maximum(said.sum(0), 1).astype(np.float32)
    gain = _nats(members.sum(0) / count, 0) - _nats(members, 1).sum(0) / count
    return np.asarray((gain / np.float32(np.log(members.shape[1]))).clip(0, 1))


def margin(probs: np.ndarray) -> np.ndarray:
    """Doubt between the two likeliest classes (…), of (K, …): 1 − (largest − second largest), 0 (sure) … 1 (a tie)."""
    top = np.partition(probs.astype(np.float32), -2, axis=0)
    return np.asarray((1 - (top[-1] - top[-2])).clip(0, 1))


def _nats(probs: np.ndarray, axis: int) -> np.ndarray:
    probs = probs.astype(np.float32)
    return np.asarray(-(probs * np.log(np.maximum(probs, _TINY))).sum(axis, dtype=np.float32))
