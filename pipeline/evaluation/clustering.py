"""How well vectors of texts fall into their ids when nobody says which they are: k-means, judged by the ids.

As MTEB measures clustering (Muennighoff et al. 2023, arXiv 2210.07316): k-means with as many clusters as there are
ids, and the v-measure of what comes out (Rosenberg and Hirschberg 2007), by scikit-learn. It begins at random, so
it is run from several seeds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, v_measure_score

from pipeline.evaluation.bootstrap import Numbers

METRICS = {
    "v_measure": v_measure_score,
    "adjusted_mutual_information": adjusted_mutual_info_score,
    "adjusted_rand": adjusted_rand_score,
}
SEEDS = 10


def clustering(vectors: Numbers, ids: Sequence[str], seed: int) -> dict[str, dict[str, float]]:
    """`METRICS` of k-means on some vectors, mean and standard deviation over `SEEDS` beginnings.

    Args:
        vectors: (n, d), unit vectors. ids: what each belongs to, (n,), two of them or more.
        seed: of the first beginning; the others are counted on from it.

    Returns:
        `{metric: {"value", "deviation"}}`; the v-measure lies in [0, 1], the others are 0 for clusters at random
        and 1 for the ids themselves.
    """
    k = len(set(ids))
    # Its stub knows the word "auto" alone, which means one beginning here.
    found = [KMeans(k, n_init="auto", random_state=seed + n).fit_predict(vectors) for n in range(SEEDS)]
    values = {name: [metric(ids, labels) for labels in found] for name, metric in METRICS.items()}
    return {
        name: {"value": float(np.mean(own)), "deviation": float(np.std(own, ddof=1))}
        for name, own in values.items()
    }
