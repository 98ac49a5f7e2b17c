"""Interactions between features of a masked model: games, coalitions, estimators. No Ray here."""

from raymoe.interactions.candidates import Candidates, select_candidates
from raymoe.interactions.estimate import estimate
from raymoe.interactions.estimators.triples import TripleEstimate, estimate_triples
from raymoe.interactions.games.expert import ExpertGame
from raymoe.interactions.games.mixture import MixtureGame
from raymoe.interactions.games.module import ModuleGame
from raymoe.interactions.games.precision import noise_floor
from raymoe.interactions.result import InteractionEstimate

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
