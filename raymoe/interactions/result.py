"""What an estimate is, and what it can be turned into: intervals, a table, shapiq's exchange format.

Shapes: n players, p pairs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from raymoe.errors import InputError, RaymoeError
from raymoe.interactions.sampling.coalitions import SizeLaw
from raymoe.interactions.sums import SCORES, RunningSums

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from shapiq import InteractionValues

COLUMNS = (
    *(column for score in SCORES for column in (score, f"{score}_stderr")),
    "base_mean",
    "span_mean",
    "smaller_gain_mean",
)


@dataclass(frozen=True)
class InteractionEstimate:
    """Scores aligned to ``pairs``; arrays [p] in the units of the game's value (a logit).

    Attributes:
        pairs: as asked for, int [p, 2].
        sii: Shapley Interaction Index (or weighted Banzhaf interaction); positive is synergy.
        pair_specific: what of it is the pair's own beside what its members do with any partner (``two_way``);
            NaN where a member is in no other pair, and of ``adaptive``.
        synergy, redundancy, antagonism: what it is made of, none of them negative but for the noise of
            ``surrogate``: more together than the sum; the same brought twice; less together than that.
            ``sii = synergy - redundancy - antagonism``.
        substitutability: the redundancy's share of the smaller gain, 0 to 1; NaN where the two never both
            help.
        redundancy_against: the same evidence against the target brought twice; a part of the synergy.
        redundancy_gap: the paper's ``base_mean / (1 + span_mean)``. It is as large for a feature that does
            nothing as for a duplicate: rank by ``redundancy``.
        smaller_gain_mean: mean of what the lesser of the two brings alone, where both help.
        sii_stderr, ...: of the sampling; 0 where every coalition was evaluated, NaN in its
            place where the game was found to change its answers.
        num_evaluations: of the game.
        num_players: n.
        sums: running sums; those of the same pairs merge.
        degrees_of_freedom: of the standard errors, [p].
        index: ``sii``, or ``banzhaf`` with the probability ``inclusion``.
        inclusion: of ``banzhaf`` alone.
        main_effects: Shapley (or Banzhaf) value of each player in a pair, [n]; NaN for the others. Not of
            ``paper``.
        empty_value: the game's value of the empty coalition. Not of ``paper``.
        top: ``adaptive`` only: the pairs found to be among the largest, bool [p].
        settled: ``adaptive`` only: whether the budget sufficed to tell them from the others.
        choice: ``auto`` only: what it did with the budget, and why.
    """

    pairs: np.ndarray
    sii: np.ndarray
    sii_stderr: np.ndarray
    pair_specific: np.ndarray
    pair_specific_stderr: np.ndarray
    synergy: np.ndarray
    synergy_stderr: np.ndarray
    redundancy: np.ndarray
    redundancy_stderr: np.ndarray
    antagonism: np.ndarray
    antagonism_stderr: np.ndarray
    substitutability: np.ndarray
    substitutability_stderr: np.ndarray
    redundancy_against: np.ndarray
    redundancy_against_stderr: np.ndarray
    redundancy_gap: np.ndarray
    redundancy_gap_stderr: np.ndarray
    base_mean: np.ndarray
    span_mean: np.ndarray
    smaller_gain_mean: np.ndarray
    num_evaluations: int
    num_players: int
    sums: RunningSums = field(repr=False)
    degrees_of_freedom: np.ndarray
    index: str = "sii"
    inclusion: float = 0.5
    main_effects: np.ndarray | None = field(default=None, repr=False)
    empty_value: float | None = None
    top: np.ndarray | None = None
    settled: bool | None = None
    choice: str | None = None

    @classmethod
    def of_sums(
        cls,
        pairs: np.ndarray,
        sums: RunningSums,
        law: SizeLaw,
        *,
        num_evaluations: int,
        num_players: int,
        main_effects: np.ndarray | None = None,
        empty_value: float | None = None,
    ) -> InteractionEstimate:
        """The estimate that running sums give; the other arguments are what they don't tell."""
        return cls(
            pairs=pairs,
            **sums.scores(),  # type: ignore[arg-type]  # arrays under the names of the fields above
            num_evaluations=num_evaluations,
            num_players=num_players,
            sums=sums,
            degrees_of_freedom=sums.degrees_of_freedom(),
            index=law.index,
            inclusion=law.inclusion,
            main_effects=main_effects,
            empty_value=empty_value,
        )

    def interval(self, level: float = 0.95, *, score: str = "sii") -> tuple[np.ndarray, np.ndarray]:
        """Confidence interval of each pair by Student's t, two arrays [p].

        Args:
            level: its coverage.
            score: one of ``SCORES``.

        Raises:
            InputError: there is no such score or level.
        """
        if not 0 < level < 1:
            raise InputError(
                f"no interval at level {level}", "A level lies between 0 and 1, for instance 0.95."
            )
        value, stderr = self._score(score)
        half = student_quantile((1 + level) / 2, self.degrees_of_freedom) * stderr
        return value - half, value + half

    def to_pandas(self) -> pd.DataFrame:
        """One row per pair: ``u, v`` and the scores."""
        import pandas as pd

        return pd.DataFrame(self._columns())

    def to_arrow(self) -> pa.Table:
        """One row per pair: ``u, v`` and the scores; the metadata say which index, from how many evaluations.

        Raises:
            RaymoeError: pyarrow is not installed.
        """
        try:
            import pyarrow as pa
        except ImportError:
            raise RaymoeError("pyarrow is not installed", "Install it: pip install pyarrow") from None
        metadata = {"num_evaluations": str(self.num_evaluations), "index": self.index}
        if self.index == "banzhaf":
            metadata["inclusion"] = str(self.inclusion)
        return pa.table(self._columns()).replace_schema_metadata(metadata)

    def to_shapiq(self, *, score: str = "sii") -> InteractionValues:
        """A ``shapiq.InteractionValues`` with entries of order 0, 1 and 2, as shapiq's plots want them.

        Order 0 is the value of the empty coalition, order 1 the Shapley (Banzhaf) value of each player, order
        2 the pairs; what was not measured is 0.

        Args:
            score: one of ``SCORES``, the values of order 2. Of these shapiq knows ``sii`` alone: with another
                the entries of order 2 are that score, whatever the index is called. Where it is not known
                (NaN) they are 0.

        Raises:
            RaymoeError: shapiq is not installed, the method does not measure single players (``paper``), or
                the index is a Banzhaf index with another inclusion than 1/2, which shapiq has no name for.
            InputError: another score.
        """
        second = np.nan_to_num(self._score(score)[0])
        if self.index == "banzhaf" and self.inclusion != 0.5:
            raise RaymoeError(
                f"shapiq has no index for inclusion {self.inclusion}", "Export index='sii' or inclusion=0.5."
            )
        try:
            from shapiq import InteractionValues
        except ImportError:
            raise RaymoeError("shapiq is not installed", "Install it: pip install shapiq") from None
        if self.main_effects is None or self.empty_value is None:
            raise RaymoeError(
                "this estimate has no entries of order 0 and 1",
                "Use method='shared', 'surrogate' or 'exact'.",
            )
        entries: dict[tuple[int, ...], float] = {(): float(self.empty_value)}
        for player, value in enumerate(np.nan_to_num(self.main_effects)):
            entries[(player,)] = float(value)
        for (u, v), value in zip(np.sort(self.pairs, 1).tolist(), second, strict=True):
            entries[(u, v)] = float(value)
        return InteractionValues(
            values=np.array(list(entries.values())),
            index="SII" if self.index == "sii" else "BII",
            max_order=2,
            min_order=0,
            n_players=self.num_players,
            interaction_lookup={key: i for i, key in enumerate(entries)},
            estimated=bool(np.any(self.sii_stderr != 0)),
            estimation_budget=self.num_evaluations,
            baseline_value=float(self.empty_value),
        )

    def _score(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """A score and its standard error.

        Raises:
            InputError: there is none of that name.
        """
        if name not in SCORES:
            raise InputError(f"there is no score {name!r}", f"Scores: {', '.join(SCORES)}.")
        value: np.ndarray = getattr(self, name)
        stderr: np.ndarray = getattr(self, f"{name}_stderr")
        return value, stderr

    def _columns(self) -> dict[str, np.ndarray]:
        scores = {name: getattr(self, name) for name in COLUMNS}
        return {"u": self.pairs[:, 0], "v": self.pairs[:, 1], **scores}


def student_quantile(level: float, freedom: np.ndarray) -> np.ndarray:
    """Quantile of Student's t for each number of degrees of freedom, [p]."""
    from scipy.stats import t as student_t  # takes a third as long to import as torch

    return np.asarray(student_t.ppf(level, freedom))
