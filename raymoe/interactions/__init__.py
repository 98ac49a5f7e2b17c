"""Interactions between features of a masked model: games, coalitions, estimators. No Ray here."""

from raymoe.interactions.candidates import Candidates, select_candidates
from raymoe.interactions.estimate import estimate
from raymoe.interactions.game import ExpertGame
from raymoe.interactions.mixture import MixtureGame
from raymoe.interactions.module_game import ModuleGame
from raymoe.interactions.precision import noise_floor
from raymoe.interactions.result import InteractionEstimate
from raymoe.interactions.triples import TripleEstimate, estimate_triples

__all__ = [
    "Candidates",
    "ExpertGame",
    "InteractionEstimate",
    "MixtureGame",
    "ModuleGame",
    "TripleEstimate",
    "estimate",
    "estimate_triples",
    "noise_floor",
    "select_candidates",
]
