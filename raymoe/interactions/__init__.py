"""Interactions between features of a masked model: games, coalitions, estimators. No Ray here."""

from raymoe.interactions.candidates import Candidates, select_candidates
from raymoe.interactions.estimators import InteractionEstimate, estimate
from raymoe.interactions.exact import exact
from raymoe.interactions.game import ExpertGame

__all__ = ["Candidates", "ExpertGame", "InteractionEstimate", "estimate", "exact", "select_candidates"]
