"""What a game is to the estimators, and what is checked before and after it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from raymoe.errors import InputError, RaymoeError

if TYPE_CHECKING:
    from torch import Tensor

WORDS = {2: "pair", 3: "triple"}  # interactions by their order
FIRST = 256  # coalitions asked first
AT_ONCE = 1 << 16  # and then at a time, which bounds memory
SHOWN_PLAYERS = 12  # of a coalition in a message
SHOWN_CHARACTERS = 120  # of what somebody else's error says


class Game(Protocol):
    """Any callable ``bool[m, n] -> float[m]`` (shapiq's convention); a tensor does as an answer.

    It may have the attributes ``num_players``, ``player_modality`` ([n], which modality each player is of)
    and ``name`` (what is explained, for messages).
    """

    def __call__(self, coalitions: np.ndarray, /) -> np.ndarray | Tensor:
        """The value of each coalition."""


def checked_players(
    game: Game, interactions: np.ndarray, order: int, num_players: int | None, within_modality: bool
) -> tuple[int, np.ndarray]:
    """n, and the pairs or triples as int64 [p, order], found to fit the game.

    Raises:
        InputError: n is unknown, or an interaction is none; names the first bad one.
    """
    n = players_of(game, num_players)
    interactions = check_interactions(interactions, n, order)
    if not within_modality:
        check_modalities(game, interactions)
    return n, interactions


def players_of(game: Game, num_players: int | None) -> int:
    """n: as told, or as the game says.

    Raises:
        InputError: neither says, or the two differ.
    """
    own = getattr(game, "num_players", None)
    n = own if num_players is None else num_players
    if n is None:
        raise InputError("the game has no num_players", "Pass num_players=.")
    if not _is_count(n) or n < 2:
        raise InputError(
            f"num_players is {n!r}", "An interaction takes at least two players: give their number."
        )
    if own is not None and own != n:
        raise InputError(f"num_players is {n}, the game has {own} players", "Leave num_players= out.")
    return int(n)


def _is_count(n: object) -> bool:
    """Whether it is a whole number, of whatever type."""
    return isinstance(n, int | float | np.number) and bool(np.isfinite(n)) and int(n) == n


def check_interactions(players: np.ndarray, n: int, order: int) -> np.ndarray:
    """Pairs or triples as int64 [p, order], or an InputError that names the first bad one."""
    word = WORDS[order]
    players = np.asarray(players)
    if players.ndim != 2 or players.shape[1] != order or not len(players) or players.dtype.kind not in "iu":
        raise InputError(
            f"{word}s must be integers [p, {order}] with p > 0, got {players.dtype} {players.shape}",
            f"Give one row of {order} player indices per {word}.",
        )
    ordered = np.sort(players, 1)
    bad = (ordered[:, 1:] == ordered[:, :-1]).any(1) | (players < 0).any(1) | (players >= n).any(1)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"{word} {row} is {players[row].tolist()}",
            f"A {word} is {order} different players of the universe, among 0..{n - 1}.",
        )
    return players.astype(np.int64)


def check_modalities(game: Game, interactions: np.ndarray) -> None:
    """Pairs and triples must cross modalities where the game knows them.

    Raises:
        InputError: names the first one within one modality.
    """
    modality = getattr(game, "player_modality", None)
    if modality is None:
        return
    modality_pk = np.asarray(modality)[interactions]
    within = (modality_pk == modality_pk[:, :1]).all(1)
    if within.any():
        row, word = int(np.flatnonzero(within)[0]), WORDS[interactions.shape[1]]
        raise InputError(
            f"{word} {row}, {interactions[row].tolist()}, lies within one modality",
            f"Take features of several modalities, or say within_modality=True for such {word}s too.",
        )


def evaluate(game: Game, coalitions: np.ndarray) -> np.ndarray:
    """The game's values as float64 [m], checked.

    The game gets copies: whatever it writes into its argument, the estimator's own coalitions stay.

    Raises:
        RaymoeError: the game answers with another shape or with values that are not finite; names the game
            where it has a name, and the coalition.
    """
    starts = [0, *range(FIRST, len(coalitions), AT_ONCE)]  # few at first: a game that is no good is found out
    stops = [*starts[1:], len(coalitions)]
    return np.concatenate(
        [_checked(game, coalitions, start, stop) for start, stop in zip(starts, stops, strict=True)]
    )


def _checked(game: Game, coalitions: np.ndarray, start: int, stop: int) -> np.ndarray:
    name = getattr(game, "name", None)
    prefix = f"{name}: " if name else ""
    answer = _array(game(np.array(coalitions[start:stop], order="C")), prefix)
    if answer.dtype.kind not in "fiub" or answer.shape != (stop - start,):
        raise RaymoeError(
            f"{prefix}the game answered {answer.dtype} {list(answer.shape)} for {stop - start} coalitions",
            "It must return one real number for each row of its argument.",
        )
    with np.errstate(over="ignore"):  # what float64 can't hold is infinite, and refused
        values: np.ndarray = answer.astype(np.float64)
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise RaymoeError(
            f"{prefix}the game's value is {values[row]} for {written_coalition(coalitions[start + row])}, "
            f"row {row} of the {stop - start} it was asked",
            "Check the model's weights and the sample's features for NaN or infinite values.",
        )
    return values


def _array(answer: object, prefix: str) -> np.ndarray:
    """An answer as an array: a tensor on any device and of any precision, a list, a column of a table."""
    detached = getattr(answer, "detach", None)
    if detached is not None:
        tensor: Tensor = detached()
        return (tensor if tensor.is_complex() else tensor.double()).cpu().numpy()
    if isinstance(answer, np.ma.MaskedArray):  # what is masked is no value
        answer = np.ma.filled(answer.astype(np.float64), np.nan)
    try:
        return np.asarray(answer)
    except (ValueError, TypeError, RuntimeError) as error:  # rows of several lengths, tensors with gradients
        reason = (str(error).splitlines() or [""])[0][:SHOWN_CHARACTERS]
        raise RaymoeError(
            f"{prefix}the game answered a {type(answer).__name__} that is no array ({reason})",
            "It must return one real number for each row of its argument: an array, a tensor or a list.",
        ) from None


def written_coalition(coalition: np.ndarray, names: Sequence[str] | None = None) -> str:
    """How messages name a coalition: by its players, the first of many.

    Args:
        coalition: bool [n].
        names: of the n players; by default their numbers.
    """
    members = np.flatnonzero(coalition).tolist()
    shown = [repr(m if names is None else names[m]) for m in members[:SHOWN_PLAYERS]]
    more = f", ... {len(members)} in all" if len(members) > SHOWN_PLAYERS else ""
    return f"the coalition of players [{', '.join(shown)}{more}]"
