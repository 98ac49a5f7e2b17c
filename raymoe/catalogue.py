"""What a setting can name but a layer above the configuration defines, one line each.

The configuration checks these names and must import neither torch nor scipy. So only names and places are
here; what is named is imported when it is first used (see ``raymoe.interactions.estimators``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class ListedEstimator(NamedTuple):
    """Where an estimator is, as ``module:class``, and the fewest coalitions that ``probe`` may be set to."""

    place: str
    min_coalitions: int = 4


MIXTURE = "mixture"  # what all experts say together, beside each of them
ALL = "all"  # every expert

ESTIMATORS = {
    "shared": ListedEstimator("raymoe.interactions.estimators.shared:Shared"),
    "surrogate": ListedEstimator("raymoe.interactions.estimators.surrogate:Surrogate", min_coalitions=16),
    "adaptive": ListedEstimator("raymoe.interactions.estimators.adaptive:Adaptive", min_coalitions=32),
    "auto": ListedEstimator("raymoe.interactions.estimators.auto:Auto", min_coalitions=16),
    "exact": ListedEstimator("raymoe.interactions.estimators.exact:Exact"),
    "paper": ListedEstimator("raymoe.interactions.estimators.paper:Paper"),
}


def expert_names(kind: str, modalities: Sequence[str]) -> list[str]:
    """One unique expert per modality, then synergy and redundancy; the dense Transformer is one expert."""
    if kind == "dense":
        return ["dense"]
    return [*(f"unique:{name}" for name in modalities), "synergy", "redundancy"]
