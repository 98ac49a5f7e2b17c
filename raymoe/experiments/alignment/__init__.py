"""Are the pairs of important features those that interact (paper §4.3, Fig. 4)?"""

from __future__ import annotations

from raymoe.experiments.experiment import Experiment, evaluation_table
from raymoe.project.artifacts import FEATURES, IMPORTANCE, INTERACTIONS
from raymoe.project.contracts import Contract

POOLED, SAME, WITHIN = "all pairs", "same samples", "within samples"
"""Which pairs the top ones are of: all, those of samples with pairs in every bin, or each sample's own."""
# One row per seed (null: mean over seeds), expert, score, choice of the top pairs, importance bin and q
# (``top``, per cent): the mean score of the top pairs with a 95 % interval over samples and its deviation
# over seeds (null for one), and the mean standard error of the bin's pairs (Monte Carlo). pairs are those of
# all the row's seeds.
ALIGNMENT = Contract(
    "alignment",
    3,
    {
        "seed": "int32",
        "expert": "string",
        "score": "string",
        "choice": "string",
        "bin": "string",
        "top": "int32",
        **dict.fromkeys(("mean", "low", "high", "std"), "float64"),
        "pairs": "int64",
        "samples": "int64",
        "stderr": "float64",
    },
)

PARENTS = (FEATURES, IMPORTANCE, INTERACTIONS)
TABLE = evaluation_table("alignment", ALIGNMENT, PARENTS)

EXPERIMENT = Experiment(
    name="alignment",
    title="Alignment",
    place="Fig. 4, §4.3",
    question="Are the pairs that interact most those of important features?",
    help="alignment (Fig. 4)",
    folder=__name__,
    tables=(TABLE,),
    options=("overwrite",),
)
