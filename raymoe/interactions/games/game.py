"""What a game is to the estimators, and what is checked before and after it is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from raymoe.errors import InputError, RaymoeError

if TYPE_CHECKING:
    from torch import Tensor

WORDS = {2: "pair", 3: "triple"}  # interactions by their order
FIRST = 256  # coalitions asked first
AT_ONCE = 1 << 16  # and then at a time, which bounds memory


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
    if int(n) != n or n < 2:
        raise InputError(f"num_players is {n}", "An interaction takes at least two players.")
    if own is not None and int(own) != int(n):
        raise InputError(f"num_players is {n}, the game has {own} players", "Leave num_players= out.")
    return int(n)


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

    Raises:
        RaymoeError: the game answers with another shape or with values that are not finite; names the game
            where it has a name, and the coalition.
    """
    parts = [_checked(game, coalitions[:FIRST])]  # so a game that is no good is soon found out
    parts += [_checked(game, coalitions[i : i + AT_ONCE]) for i in range(FIRST, len(coalitions), AT_ONCE)]
    return np.concatenate(parts)


def _checked(game: Game, coalitions: np.ndarray) -> np.ndarray:
    name = getattr(game, "name", None)
    prefix = f"{name}: " if name else ""
    answer = game(coalitions)
    if hasattr(answer, "detach"):  # a tensor, on any device and of any precision
        answer = answer.detach().double().cpu().numpy()
    answer = np.asarray(answer)
    if answer.dtype.kind not in "fiub" or answer.shape != (len(coalitions),):
        raise RaymoeError(
            f"{prefix}the game answered {answer.dtype} {list(answer.shape)} for {len(coalitions)} coalitions",
            "It must return one real number for each row of its argument.",
        )
    values = answer.astype(np.float64)
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        members = np.flatnonzero(coalitions[row]).tolist()
        raise RaymoeError(
            f"{prefix}the game's value is {values[row]} for the coalition of players {members}",
            "Check the model's weights and the sample's features for NaN or infinite values.",
        )
    return values
