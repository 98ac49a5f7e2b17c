"""Does masking what an attribution calls important hurt (paper §4.2, Fig. 3)? And ERASER's measures of it."""

from __future__ import annotations

from raymoe.experiments.experiment import Experiment, evaluation_table
from raymoe.project.artifacts import CHECKPOINT, FEATURES
from raymoe.project.contracts import Contract

# One row per run, expert (or "experts together"), method and share (K, per cent) of each modality's features
# that is zeroed. drop is base - masked, fractions; comprehensiveness and sufficiency are falls of the
# predicted classes' probability.
FAITHFULNESS = Contract(
    "faithfulness",
    2,
    {
        "kind": "string",
        "variant": "string",
        "seed": "int32",
        "expert": "string",
        "method": "string",
        "share": "int32",
        "metric": "string",
        "base": "float64",
        "masked": "float64",
        "drop": "float64",
        "comprehensiveness": "float64",
        "sufficiency": "float64",
    },
)

# Means over shares and seeds per kind of model, expert ("all experts" is their mean, "experts together" one
# importance that they make up) and method. *_low and *_high are 95 % intervals of a paired bootstrap over
# samples, drop_std the deviation over seeds (null for one). convergence_delta is that of integrated
# gradients, as a share of the logit's mean rise (null for others).
FAITHFULNESS_SUMMARY = Contract(
    "faithfulness-summary",
    3,
    {
        "kind": "string",
        "variant": "string",
        "seeds": "list<int32>",
        "expert": "string",
        "method": "string",
        "metric": "string",
        **dict.fromkeys(("drop", "drop_low", "drop_high", "drop_std"), "float64"),
        **dict.fromkeys(("over_random", "over_random_low", "over_random_high"), "float64"),
        "comprehensiveness": "float64",
        "sufficiency": "float64",
        "convergence_delta": "float64",
    },
)

PARENTS = (FEATURES, CHECKPOINT)
TABLE = evaluation_table("faithfulness", FAITHFULNESS, PARENTS)
SUMMARY_TABLE = evaluation_table("faithfulness", FAITHFULNESS_SUMMARY, PARENTS)

EXPERIMENT = Experiment(
    name="faithfulness",
    title="Faithfulness",
    place="Fig. 3, §4.2",
    question="Does masking what an attribution calls important hurt more than masking anything else?",
    help="faithfulness (Fig. 3)",
    folder=__name__,
    tables=(TABLE, SUMMARY_TABLE),
    options=("device", "overwrite"),
)
