"""What noise on a modality, or its absence, does to predictions, expert weights and interaction rankings."""

from __future__ import annotations

from raymoe.experiments.experiment import Experiment, evaluation_table
from raymoe.project.artifacts import CHECKPOINT, FEATURES
from raymoe.project.contracts import Contract

# One row per run, modality, disturbance ("noise" or "missing"), level and quantity: a metric,
# "expert_weight", "rank_correlation" or "top_overlap" (of the pairs' scores with the undisturbed ones).
# expert and score are null where a quantity has none; level 0 is undisturbed.
ROBUSTNESS = Contract(
    "robustness",
    1,
    {
        "kind": "string",
        "variant": "string",
        "seed": "int32",
        "modality": "string",
        "disturbance": "string",
        "level": "float64",
        "quantity": "string",
        "expert": "string",
        "score": "string",
        **dict.fromkeys(("value", "low", "high"), "float64"),
        "samples": "int64",
    },
)

PARENTS = (FEATURES, CHECKPOINT)
TABLE = evaluation_table("robustness", ROBUSTNESS, PARENTS)

EXPERIMENT = Experiment(
    name="robustness",
    title="Robustness",
    place="future work of the paper, §6",
    question="What becomes of scores, expert weights and rankings of pairs when a modality is noisy or "
    "missing?",
    help="robustness (noise, missing modalities)",
    folder=__name__,
    tables=(TABLE,),
    options=("device", "overwrite"),
)
