"""Do the scores find the interactions that are there? On data where they are known (data/planted.py)."""

from __future__ import annotations

from raymoe.experiments.experiment import Experiment, evaluation_table
from raymoe.project.artifacts import CHECKPOINT, FEATURES, IMPORTANCE, INTERACTIONS, SAMPLES
from raymoe.project.contracts import Contract

# Ground truth of planted interactions. One row per seed (null: mean over seeds), expert, kind of interaction,
# method (a score, -sii, product, attention, random) and measure (average_precision, auroc,
# precision_at_k): how well the method's scores find the true pairs. chance is what random scores would have.
PLANTED = Contract(
    "planted",
    1,
    {
        "seed": "int32",
        "expert": "string",
        "interaction": "string",
        "method": "string",
        "measure": "string",
        **dict.fromkeys(("value", "low", "high", "chance"), "float64"),
        "positives": "int64",
        "pairs": "int64",
        "samples": "int64",
    },
)

# Does each expert do what its name says? One row per seed (null: mean over seeds), expert, kind of planted
# interaction and quantity, such as its weight in the mixture, or how well it alone tells the class.
PLANTED_EXPERTS = Contract(
    "planted-experts",
    1,
    {
        "seed": "int32",
        "expert": "string",
        "interaction": "string",
        "quantity": "string",
        **dict.fromkeys(("value", "low", "high"), "float64"),
        "samples": "int64",
    },
)


PARENTS = (SAMPLES, FEATURES, CHECKPOINT, IMPORTANCE, INTERACTIONS)
PAIRS_TABLE = evaluation_table("planted", PLANTED, PARENTS)
EXPERTS_TABLE = evaluation_table("planted", PLANTED_EXPERTS, PARENTS)

EXPERIMENT = Experiment(
    name="planted",
    title="Planted interactions",
    place="beyond the paper",
    question="Where the interactions are known: are they found, and does each expert do what its name says?",
    help="planted (do the scores find known interactions?)",
    folder=__name__,
    tables=(PAIRS_TABLE, EXPERTS_TABLE),
    options=("device", "overwrite"),
    formats=("planted",),
)
