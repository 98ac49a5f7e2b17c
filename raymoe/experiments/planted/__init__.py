"""Do the scores find the interactions that are there? On data where they are known (data/planted.py)."""

from __future__ import annotations

from raymoe.experiments.experiment import Experiment, evaluation_table
from raymoe.project.artifacts import CHECKPOINT, FEATURES, IMPORTANCE, INTERACTIONS, SAMPLES
from raymoe.project.contracts import Contract

# Ground truth of planted interactions. One row per seed (null: mean over seeds), kind of scenes (all: every
# target with pairs is on; alone: one of them; free: drawn as those of training), expert, kind of interaction,
# method (a score, -sii, product, attention, random) and measure (average_precision, auroc,
# precision_at_k): how well the method's scores find the true pairs. chance is what random scores would have.
PLANTED = Contract(
    "planted",
    2,
    {
        "seed": "int32",
        "scenes": "string",
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

# Where the true pairs of a sample come: one row per seed, sample, expert, kind of interaction and method. The
# lists are of its true pairs; rank 1 is the highest score among the ``pairs`` measured of sample and expert.
PLANTED_RANKS = Contract(
    "planted-ranks",
    1,
    {
        "seed": "int32",
        "sample_id": "string",
        "scenes": "string",
        "expert": "string",
        "interaction": "string",
        "method": "string",
        "u_modality": "string",
        "u": "list<int32>",
        "v_modality": "string",
        "v": "list<int32>",
        "rank": "list<int32>",
        "pairs": "int32",
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
RANKS_TABLE = evaluation_table("planted", PLANTED_RANKS, PARENTS)

EXPERIMENT = Experiment(
    name="planted",
    title="Planted interactions",
    place="beyond the paper",
    question="Where the interactions are known: are they found, and does each expert do what its name says?",
    help="planted (do the scores find known interactions?)",
    folder=__name__,
    tables=(PAIRS_TABLE, EXPERTS_TABLE, RANKS_TABLE),
    options=("device", "overwrite"),
    formats=("planted",),
)
