"""Features as points of a plane.

Called by `show.figures` with the features that `outputs` computes. scikit-learn is imported only
when points are computed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

COMPONENTS = 50
"""Principal components that t-SNE is given, as van der Maaten & Hinton (2008) did."""
PERPLEXITY = 30.0
FEWEST = 8
"""With fewer points than this, t-SNE has nothing to show."""


def project_features(
    features: NDArray[np.float32], seed: int = 0
) -> dict[str, NDArray[np.float32]]:
    """Return the places of features in a plane, by principal components and by t-SNE.

    Features are (N, units); each result is float32 (N, 2), under the name of its method. The same
    seed gives the same places on the same machine. Raises ValueError for fewer than two features,
    and if they are not finite.
    """
    if len(features) < 2 or not np.isfinite(features).all():
        raise ValueError(
            f"{len(features)} features cannot be projected: there must be two, all finite"
        )
    from sklearn.decomposition import PCA

    n = min(COMPONENTS, *features.shape)
    solver = "randomized" if n < min(features.shape) else "full"
    pca = PCA(n, svd_solver=solver, random_state=seed)
    components = pca.fit_transform(np.asarray(features, np.float32))
    if n < 2:
        components = np.pad(components, ((0, 0), (0, 1)))
    shares = np.nan_to_num(pca.explained_variance_ratio_[:2]).sum()
    name = f"principal components ({100 * shares:.0f} % of the variance)"
    places = {name: components[:, :2].astype(np.float32)}
    if len(features) >= FEWEST:
        places["t-SNE"] = _run_tsne(components, seed)
    return places


def _run_tsne(components: NDArray[Any], seed: int) -> NDArray[np.float32]:
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(components) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=seed, n_jobs=1)
    return np.asarray(tsne.fit_transform(components), np.float32)
