"""Is it a pair at all? How much of the differences between a sample's pairs is the pairs' own."""

from __future__ import annotations

from raymoe.experiments.experiment import Experiment, evaluation_table
from raymoe.project.artifacts import FEATURES, INTERACTIONS
from raymoe.project.contracts import Contract

# One row per seed (null: mean over seeds), expert, pair of modalities and quantity (see measure.py), with a
# 95 % interval over samples and its deviation over seeds (null for one). samples are those with something of
# the pairs' own, left_out those with a single feature of one side.
SPECIFICITY = Contract(
    "specificity",
    1,
    {
        "seed": "int32",
        "expert": "string",
        "u_modality": "string",
        "v_modality": "string",
        "quantity": "string",
        **dict.fromkeys(("value", "low", "high", "std"), "float64"),
        "samples": "int64",
        "left_out": "int64",
    },
)
# One row per seed, expert, sample and pair of modalities: where the variance of SII lies between the pairs of
# the sample, in logits squared; null where nothing can be told. mean is that of the pairs' SII, negative the
# share of the pairs whose SII is below 0.
SAMPLES = Contract(
    "specificity-samples",
    2,
    {
        "seed": "int32",
        "expert": "string",
        "sample_id": "string",
        "u_modality": "string",
        "v_modality": "string",
        "pairs": "int32",
        "mean": "float64",
        "negative": "float64",
        **dict.fromkeys(("total", "first", "second", "own", "noise"), "float64"),
        "above_noise": "bool",
    },
)

# One row per seed (null: mean over seeds), expert, pair of modalities and class of at least three samples:
# the means over its samples of both, with 95 % intervals over these.
CLASSES = Contract(
    "specificity-classes",
    1,
    {
        "seed": "int32",
        "expert": "string",
        "u_modality": "string",
        "v_modality": "string",
        "class": "string",
        "samples": "int64",
        **{f"{name}{end}": "float64" for name in ("mean", "negative") for end in ("", "_low", "_high")},
    },
)

PARENTS = (FEATURES, INTERACTIONS)
TABLE = evaluation_table("specificity", SPECIFICITY, PARENTS)
SAMPLES_TABLE = evaluation_table("specificity", SAMPLES, PARENTS)
CLASSES_TABLE = evaluation_table("specificity", CLASSES, PARENTS)

EXPERIMENT = Experiment(
    name="specificity",
    title="Is it a pair?",
    place="beyond the paper",
    question="How much of what distinguishes a sample's pairs is the pairs' own, and not what their word or "
    "their patch does with any partner?",
    help="specificity (is it a pair?)",
    folder=__name__,
    tables=(TABLE, SAMPLES_TABLE, CLASSES_TABLE),
    options=("overwrite",),
)
