"""The paper's Table 2: each model's test scores over the seeds, beside the paper's figures."""

from __future__ import annotations

from raymoe.experiments.experiment import Experiment, evaluation_table
from raymoe.project.artifacts import METRICS, PREDICTIONS, SWEEP
from raymoe.project.contracts import Contract

# One row per kind of model and metric, over the seeds that finished, in per cent. low and high are a 95 %
# interval over samples, null where the runs are gone; paper_* and difference are null where the paper has no
# such figure.
COMPARISON = Contract(
    "comparison",
    2,
    {
        "kind": "string",
        "variant": "string",
        "metric": "string",
        "seeds": "list<int32>",
        "mean": "float64",
        "std": "float64",  # null for a single seed
        "low": "float64",
        "high": "float64",
        "paper_mean": "float64",
        "paper_std": "float64",
        "difference": "float64",
    },
)

PARENTS = (METRICS, PREDICTIONS, SWEEP)
TABLE = evaluation_table("comparison", COMPARISON, PARENTS)

EXPERIMENT = Experiment(
    name="comparison",
    title="Comparison",
    place="Table 2, §5.1",
    question="Does looking at tokens and patches instead of pooled vectors cost accuracy?",
    help="comparison (Table 2)",
    folder=__name__,
    tables=(TABLE,),
)
