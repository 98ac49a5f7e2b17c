"""What an estimate can be turned into: a table, or shapiq's exchange format."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from raymoe.errors import InputError, RaymoeError

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "sii",
    "sii_stderr",
    "redundancy_gap",
    "redundancy_gap_stderr",
    "base_mean",
    "span_mean",
)


class Exchange:
    """Mixed into ``InteractionEstimate``."""

    def to_arrow(self) -> pa.Table:
        """One row per pair: ``u, v`` and the scores."""
        columns = {"u": self.pairs[:, 0], "v": self.pairs[:, 1]}
        columns |= {name: getattr(self, name) for name in COLUMNS}
        metadata = {"num_evaluations": str(self.num_evaluations), "index": self.index}
        if self.index == "banzhaf":
            metadata["inclusion"] = str(self.inclusion)
        return pa.table(columns).replace_schema_metadata(metadata)

    def to_pandas(self) -> pd.DataFrame:
        """One row per pair: ``u, v`` and the scores."""
        return self.to_arrow().to_pandas()

    def to_shapiq(self, *, score: str = "sii"):
        """A ``shapiq.InteractionValues`` with entries of order 0, 1 and 2, as shapiq's plots want them.

        Order 0 is the value of the empty coalition, order 1 the Shapley (Banzhaf) value of each player, order
        2 the pairs; what was not measured is 0.

        Args:
            score: ``sii`` or ``redundancy_gap``, the values of order 2 (shapiq knows no redundancy gap: with
                that
                score the entries of order 2 are gaps, whatever the index is called).

        Raises:
            RaymoeError: shapiq is not installed, the method does not measure single players (``paper``), or
                the
                index is a Banzhaf index with another inclusion than 1/2, which shapiq has no name for.
            InputError: another score.
        """
        if score not in ("sii", "redundancy_gap"):
            raise InputError(f"unknown score {score!r}", "Scores: sii, redundancy_gap.")
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
        for (u, v), value in zip(np.sort(self.pairs, 1).tolist(), getattr(self, score), strict=True):
            entries[(u, v)] = float(value)
        return InteractionValues(
            values=np.array(list(entries.values())),
            index="SII" if self.index == "sii" else "BII",
            max_order=2,
            min_order=0,
            n_players=self.num_players,
            interaction_lookup={key: i for i, key in enumerate(entries)},
            estimated=bool(np.any(self.sii_stderr > 0)),
            estimation_budget=self.num_evaluations,
            baseline_value=float(self.empty_value),
        )
