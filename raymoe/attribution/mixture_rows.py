"""The importance table with rows for the mixture, made from those of its experts."""

from __future__ import annotations

import pyarrow as pa

from raymoe.attribution.importance import mean_over_experts
from raymoe.catalogue import MIXTURE


def with_mixture(table: pa.Table) -> pa.Table:
    """An importance table and, behind it, a row of the mixture for each sample and modality.

    Args:
        table: of the contract ``importance``, with all experts of the model. Where it has the mixture already
            it comes back as it is.
    """
    experts = table["expert"].unique().to_pylist()
    if MIXTURE in experts or not len(table):
        return table
    scores: dict[tuple[str, str], list] = {}
    known: dict[tuple[str, str], dict] = {}
    light = table.select([name for name in table.column_names if name != "scores"]).to_pylist()
    for row, values in zip(light, table["scores"], strict=True):
        key = row["sample_id"], row["modality"]
        scores.setdefault(key, []).append(values.values.to_numpy())
        known.setdefault(key, row)
    rows = [
        {**known[key], "expert": MIXTURE, "scores": mean_over_experts(found)} for key, found in scores.items()
    ]
    more = pa.Table.from_pylist(rows, table.schema)
    return pa.concat_tables([table, more]).replace_schema_metadata(table.schema.metadata)
