"""Gradient boosting on clinical data: the second clinical baseline, its trees kept as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from axilla.mil.clinical import Preprocessor, fit_preprocessor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from sklearn.ensemble import GradientBoostingClassifier

    from axilla.core.config import Clinical
    from axilla.core.types import Patient

TREES = 100
DEPTH = 2
RATE = 0.05
SUBSAMPLE = 0.5
LEAF = 20
"""Modest and fixed: 100 trees of two levels (pairs of columns at most), a small step, half of the
patients a tree (Friedman 2002, doi:10.1016/S0167-9473(01)00065-2), 20 patients a leaf. Set before
any cohort was scored; nothing is tuned, so that the validation cohort only chooses the threshold.
"""
MOST_NODES = 2_000_000
_DTYPES = {
    "roots": np.int32, "tree_class": np.int32, "feature": np.int32, "threshold": np.float64,
    "left": np.int32, "right": np.int32, "value": np.float64, "base": np.float64,
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Trees:
    """T regression trees, their M nodes one after the other.

    A node that splits sends x to `left` where float32(x[feature]) <= threshold, else to `right`;
    both lie behind it. A leaf has the feature -1 and leads to itself.
    """

    roots: NDArray[np.int32]
    """First node of each tree, [T]."""
    tree_class: NDArray[np.int32]
    """Class to whose score each tree adds, [T]."""
    feature: NDArray[np.int32]
    """[M]."""
    threshold: NDArray[np.float64]
    """[M]."""
    left: NDArray[np.int32]
    """[M]."""
    right: NDArray[np.int32]
    """[M]."""
    value: NDArray[np.float64]
    """What a leaf adds, the learning rate included, [M]."""
    base: NDArray[np.float64]
    """Score of each class before any tree, the logarithm of its share in training, [K]."""

    def scores(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum of the trees for vectors float64 [n, C]: scores float64 [n, K]."""
        x32 = x.astype(np.float32)  # as scikit-learn compares
        rows = np.arange(len(x))[:, None]
        node = np.broadcast_to(self.roots, (len(x), len(self.roots)))  # [n, T]
        while (self.feature[node] >= 0).any():
            goes_left = x32[rows, self.feature[node]] <= self.threshold[node]
            node = np.where(goes_left, self.left[node], self.right[node])
        added = self.value[node]  # [n, T]
        of_class = self.tree_class[:, None] == np.arange(len(self.base))  # [T, K]
        return np.asarray(self.base + added @ of_class)

    def check(self, *, width: int, classes: int) -> None:
        """Whether every path ends, and within the arrays; width C, K classes.

        Raises
        ------
        ValueError
            The arrays are no trees over vectors of this width.
        """
        nodes = np.arange(len(self.feature))
        leaf = self.feature == -1
        forward = (self.left > nodes) & (self.right > nodes) | leaf
        same = {len(a) for a in (self.feature, self.threshold, self.left, self.right, self.value)}
        fits = (
            same == {len(nodes)}
            and len(nodes) <= MOST_NODES
            and len(self.roots) == len(self.tree_class)
            and self.base.shape == (classes,)
            and _within(self.roots, len(nodes))
            and _within(self.tree_class, classes)
            and _within(self.left, len(nodes))
            and _within(self.right, len(nodes))
            and bool(((self.feature >= -1) & (self.feature < width)).all())
            and bool(forward.all())
            and all(np.isfinite(a).all() for a in (self.threshold, self.value, self.base))
        )
        if not fits:
            raise ValueError("the arrays are no trees over the clinical vector")


def _within(indices: NDArray[np.int32], length: int) -> bool:
    return indices.ndim == 1 and bool(((indices >= 0) & (indices < length)).all())


@dataclass(frozen=True, slots=True, eq=False)
class BoostingModel:
    """p(class) = softmax(base + sum of trees) over the preprocessed clinical vector.

    Two classes are written with no trees for the negative one, so that the difference is the usual
    log odds. Missing values come imputed and flagged from the preprocessor, as for the regression.
    """

    preprocessor: Preprocessor
    trees: Trees

    def predict(self, patients: Sequence[Patient]) -> NDArray[np.float64]:
        """Probability of each class, float64 [n, K]."""
        scores = self.trees.scores(self.preprocessor.transform(patients))
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The trees by the names of their arrays."""
        return {name: getattr(self.trees, name) for name in _DTYPES}

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, NDArray[Any]], *, preprocessor: Preprocessor, classes: int
    ) -> BoostingModel:
        """From what `tensors` gave.

        Raises
        ------
        LookupError, ValueError
            An array is missing, of another kind, or the arrays are no trees.
        """
        for name, dtype in _DTYPES.items():
            if tensors[name].dtype != dtype or tensors[name].ndim != 1:
                raise ValueError(f"`{name}` is no list of {np.dtype(dtype).name}")
        trees = Trees(**{name: tensors[name] for name in _DTYPES})
        trees.check(width=preprocessor.width, classes=classes)
        return cls(preprocessor=preprocessor, trees=trees)


def fit_boosting(
    patients: Sequence[Patient], *, classes: int, config: Clinical, seed: int
) -> BoostingModel:
    """Gradient boosted trees on the vector that the regression reads.

    Parameters
    ----------
    seed
        Decides which half of the patients each tree sees.

    Raises
    ------
    CohortError
        The preprocessor cannot be fitted.
    """
    preprocessor = fit_preprocessor(patients, config=config)
    x = preprocessor.transform(patients)
    y = np.array([patient.label for patient in patients])
    fitted = make_boosting(len(patients), seed=seed).fit(x, y)
    shares = np.bincount(y, minlength=classes) / len(y)
    # A class that no training patient is of keeps a score, far below all others.
    trees = export_trees(fitted, base=np.log(np.maximum(shares, 1e-12)))
    return BoostingModel(preprocessor=preprocessor, trees=trees)


def make_boosting(patients: int, *, seed: int) -> GradientBoostingClassifier:
    """The classifier before it is fitted; of small cohorts a leaf holds a tenth."""
    from sklearn.ensemble import GradientBoostingClassifier

    return GradientBoostingClassifier(
        n_estimators=TREES,
        max_depth=DEPTH,
        learning_rate=RATE,
        subsample=SUBSAMPLE,
        min_samples_leaf=max(1, min(LEAF, patients // 10)),
        random_state=seed,
    )


def export_trees(fitted: GradientBoostingClassifier, *, base: NDArray[np.float64]) -> Trees:
    """The trees of a fitted classifier; `base` float64 [K], the scores before the first tree."""
    parts: list[dict[str, NDArray[Any]]] = []
    roots, tree_class = [], []
    start = 0
    # Two classes have the trees of the second one only.
    adds_to = fitted.classes_[1:] if len(fitted.classes_) == 2 else fitted.classes_
    for stage in fitted.estimators_:  # [T, 1], or [T, K]
        for label, estimator in zip(adds_to, stage, strict=True):
            tree = estimator.tree_
            own = np.arange(tree.node_count)
            leaf = tree.children_left < 0
            parts.append(
                {
                    "feature": np.where(leaf, -1, tree.feature),
                    "threshold": np.where(leaf, 0.0, tree.threshold),
                    "left": start + np.where(leaf, own, tree.children_left),
                    "right": start + np.where(leaf, own, tree.children_right),
                    "value": fitted.learning_rate * tree.value[:, 0, 0],
                }
            )
            roots.append(start)
            tree_class.append(int(label))
            start += tree.node_count
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    arrays |= {"roots": np.array(roots), "tree_class": np.array(tree_class), "base": base}
    return Trees(**{name: arrays[name].astype(dtype) for name, dtype in _DTYPES.items()})
