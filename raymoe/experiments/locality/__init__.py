"""How local are the encoders' features? Without that a pair of positions is no pair of a word and a patch."""

from __future__ import annotations

from raymoe.experiments.experiment import Experiment, evaluation_table
from raymoe.project.artifacts import FEATURES, SAMPLES
from raymoe.project.contracts import Contract

# One row per modality and hidden layer of its encoder (-1: the last; 0: the embedding). locality: the share
# of
# the squared change of the features that is at the masked positions themselves; even: what it would be if the
# change were the same everywhere. score: the task's main metric of a linear probe on the validation split.
# Both with 95 % intervals over samples. stored: the layer that the features are of; suggested: the most local
# one whose score is not more than MARGIN below it.
LOCALITY = Contract(
    "locality",
    1,
    {
        "modality": "string",
        "layer": "int32",
        **dict.fromkeys(("locality", "locality_low", "locality_high", "even"), "float64"),
        **dict.fromkeys(("score", "score_low", "score_high"), "float64"),
        "metric": "string",
        "samples": "int64",
        "masks": "int64",
        "stored": "bool",
        "suggested": "bool",
    },
)
TABLE = evaluation_table("locality", LOCALITY, (SAMPLES, FEATURES))
MARGIN = 0.01

EXPERIMENT = Experiment(
    name="locality",
    title="How local are the features?",
    place="beyond the paper",
    question="When one word or one patch is taken out of the input, how much of what changes is at its own "
    "position, layer by layer?",
    help="locality (where do an encoder's features change with a word or patch?)",
    folder=__name__,
    tables=(TABLE,),
    options=("device", "overwrite"),
)
