"""A model of the user's own as a game: a module, and a function that masks its input.

Knows nothing of the fusion experts: every coalition is a full pass of the module.

Shapes: m coalitions, n players, C classes, K targets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from raymoe.errors import InputError, RaymoeError
from raymoe.interactions.games.masked_game import MaskedGame

Inputs = TypeVar("Inputs")  # a batch of masked inputs, whatever the model takes
Target = int | Sequence[int] | Callable[[Tensor], Tensor] | None


class ModuleGame(MaskedGame, Generic[Inputs]):
    """Any module with a masking function: ``bool[m, n] -> float64[m]``.

    Args:
        module: the model. In evaluation it is in eval mode, without gradients; its mode is put back.
        mask: from coalitions (bool tensor [m, n] on ``device``; True where the player is there) to the batch
            of m masked inputs. A mapping is passed to the module by name, a tuple by position, anything else
            as the one argument.
        num_players: n.
        target: what of the logits [m, C] is explained: a class, several (their mean logit), or a function of
            the logits that answers [m]. ``None``: the forward pass answers [m] itself.
        forward: ``forward(batch)`` instead of ``module(batch)``, where the module takes or answers something
            else. An answer with ``.logits`` (Hugging Face) is taken for its logits.
        batch_size: the most coalitions in one pass.
        device: where the coalitions' tensor lies; by default where the module's parameters do.
        player_names: [n], for messages.
        player_modality: [n], which modality each player is of; then pairs within one are refused.
        name: what is explained, for messages.

    Raises:
        InputError: an argument that does not fit the others.
    """

    def __init__(
        self,
        module: nn.Module,
        mask: Callable[[Tensor], Inputs],
        num_players: int,
        target: Target = None,
        *,
        forward: Callable[[Inputs], object] | None = None,
        batch_size: int = 32,
        device: torch.device | str | None = None,
        player_names: Sequence[str] | None = None,
        player_modality: Sequence[int] | np.ndarray | None = None,
        name: str = "",
    ) -> None:
        if not isinstance(module, nn.Module):
            raise InputError(
                f"module is a {type(module).__name__}, not a torch.nn.Module",
                "Pass the model itself, and what calls it as forward=.",
            )
        if num_players < 1 or batch_size < 1:
            raise InputError(f"num_players is {num_players}, batch_size {batch_size}", "Give at least 1.")
        if player_names is not None and len(player_names) != num_players:
            raise InputError(f"{len(player_names)} names for {num_players} players", "Name each player once.")
        self.module, self.mask, self.forward, self.target = module, mask, forward, target
        self.num_players, self.batch_size, self.name = num_players, batch_size, name
        if player_modality is not None:
            if len(player_modality) != num_players:
                raise InputError(
                    f"{len(player_modality)} modalities for {num_players} players", "Say one per player."
                )
            self.player_modality = np.asarray(player_modality)
        self.player_names = None if player_names is None else list(player_names)
        if device is None:
            device = next((p.device for p in module.parameters()), torch.device("cpu"))
        self.device = torch.device(device)

    @property
    def on_device(self) -> bool:
        """Whether an estimator should leave values on the device: on all but a CPU."""
        return self.device.type != "cpu"

    def _values(self, coalitions: np.ndarray) -> np.ndarray:
        values = np.empty(len(coalitions))
        with _evaluating(self.module):
            for start in range(0, len(coalitions), self.batch_size):
                # A copy, also on the CPU: mask= may write into it.
                part = torch.tensor(coalitions[start : start + self.batch_size], device=self.device)
                values[start : start + len(part)] = self._batch(part).double().cpu().numpy()
        return values

    def _tensor_values(self, active_mn: Tensor, sizes_m: np.ndarray) -> Tensor:
        starts = range(0, len(active_mn), self.batch_size)
        with _evaluating(self.module):  # on copies: mask= may write into them
            parts = [self._batch(active_mn[at : at + self.batch_size].clone()) for at in starts]
        return torch.cat([part.double() for part in parts])

    def _batch(self, active_mn: Tensor) -> Tensor:
        batch = self.mask(active_mn)
        output = self.forward(batch) if self.forward else _call(self.module, batch)
        output = getattr(output, "logits", output)
        if not isinstance(output, Tensor) or not output.dim() or len(output) != len(active_mn):
            found = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise RaymoeError(
                f"{self._prefix}the model answered {found} for {len(active_mn)} coalitions",
                "It must answer a tensor with one row per coalition: pass forward= to make it, and see that "
                "mask= returns one input per coalition.",
            )
        values_m = self._select(output)
        if values_m.shape != (len(active_mn),):
            raise RaymoeError(
                f"{self._prefix}the target's values are {list(values_m.shape)} "
                f"for {len(active_mn)} coalitions",
                "Choose one number per coalition: target= a class, several, or a function of the logits.",
            )
        return values_m

    def _select(self, output: Tensor) -> Tensor:
        if self.target is None:
            return output
        if callable(self.target):
            return self.target(output)
        classes = np.atleast_1d(np.asarray(self.target, dtype=np.int64))
        if output.dim() != 2 or not len(classes) or classes.min() < 0 or classes.max() >= output.shape[1]:
            raise InputError(
                f"{self._prefix}no class {self.target} in an output of shape {list(output.shape)}",
                "The model must answer logits [m, C], and the target be among 0..C-1.",
            )
        return output[:, torch.from_numpy(classes).to(output.device)].mean(1)

    @property
    def _names(self) -> Sequence[str] | None:
        return self.player_names


def _call(module: nn.Module, batch: object) -> object:
    if isinstance(batch, Mapping):
        return module(**batch)
    return module(*batch) if isinstance(batch, tuple) else module(batch)


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode; each part's own mode is put back."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True
