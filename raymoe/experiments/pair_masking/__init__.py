"""Does masking the pairs that interact hurt more than masking others (paper §4.4, Table 1)?"""

from __future__ import annotations

from raymoe.experiments.experiment import Experiment, evaluation_table
from raymoe.project.artifacts import CHECKPOINT, FEATURES, IMPORTANCE, INTERACTIONS
from raymoe.project.contracts import Contract

# One row per seed (null: mean over seeds), expert, score, share (K, per cent of the candidate pairs) and
# masking: "original", "random pairs", "random pairs, as many features" or "ranked pairs". drop is original -
# value, fractions; *_low and *_high are 95 % intervals of a paired bootstrap over samples, *_std deviations
# over seeds (null for one); pairs and features are mean numbers per sample, the latter of those zeroed. short
# is how many samples (mean over seeds) have so few candidates that K per cent of them is less than one pair.
PAIR_MASKING = Contract(
    "pair-masking",
    3,
    {
        "seed": "int32",
        "expert": "string",
        "score": "string",
        "share": "int32",
        "masking": "string",
        "metric": "string",
        **dict.fromkeys(("value", "value_low", "value_high", "value_std"), "float64"),
        **dict.fromkeys(("drop", "drop_low", "drop_high", "drop_std"), "float64"),
        "pairs": "float64",
        "features": "float64",
        "samples": "int64",
        "short": "float64",
        "paper": "float64",  # the paper's value, null where it has none
    },
)

ORIGINAL, RANDOM, MATCHED, RANKED = (
    "original",
    "random pairs",
    "random pairs, as many features",
    "ranked pairs",
)

PARENTS = (FEATURES, CHECKPOINT, IMPORTANCE, INTERACTIONS)
TABLE = evaluation_table("pair-masking", PAIR_MASKING, PARENTS)

EXPERIMENT = Experiment(
    name="pair-masking",
    title="Pair masking",
    place="Table 1, §4.4",
    question="Does masking the pairs that interact most hurt more than masking random pairs?",
    help="pair-masking (Table 1)",
    folder=__name__,
    tables=(TABLE,),
    options=("device", "overwrite"),
)
