"""Agreement of two clusterings."""

import numpy as np
from jaxtyping import Int


def matching(
    labels: Int[np.ndarray, "n"], clusters: Int[np.ndarray, "n"], n_components: int | None = None
) -> Int[np.ndarray, "K"]:
    """Match clusters to true labels one to one, so that the most ensembles agree.

    Parameters
    ----------
    labels, clusters : ndarray of int, shape (n,)
        True labels and found clusters, numbered from 0.
    n_components : int, optional
        Number of clusters K; by default one more than the largest number seen.

    Returns
    -------
    ndarray of int, shape (K,)
        ``match[k]`` is the label that cluster k stands for. No label is used twice.

    Notes
    -----
    The assignment problem is solved exactly (Hungarian method). Where there are more clusters than
    labels the surplus clusters get labels of their own that no ensemble has.
    """
    from scipy.optimize import linear_sum_assignment

    K = max(int(labels.max()), int(clusters.max())) + 1 if n_components is None else n_components
    K = max(K, int(labels.max()) + 1)
    table = np.zeros((K, K), dtype=np.int64)
    np.add.at(table, (clusters, labels), 1)
    rows, columns = linear_sum_assignment(table, maximize=True)
    match = np.empty(K, dtype=np.int64)
    match[rows] = columns
    return match


def accuracy(labels: Int[np.ndarray, "n"], clusters: Int[np.ndarray, "n"]) -> float:
    """Return the share of ensembles whose cluster is matched to their label, one to one."""
    return float(np.mean(matching(labels, clusters)[clusters] == labels))


def adjusted_rand_index(labels: Int[np.ndarray, "n"], clusters: Int[np.ndarray, "n"]) -> float:
    """Return the adjusted Rand index (Hubert & Arabie 1985): 1 for equal partitions, 0 by chance."""
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(labels, clusters))
