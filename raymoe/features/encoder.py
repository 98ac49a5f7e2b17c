"""The one interface of every frozen encoder, and what an encoder answers.

Imports neither torch nor transformers. How one is found by its name: ``raymoe.features.lookup``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    import torch

    from raymoe.features.geometry import Geometry
    from raymoe.features.text_pieces import TextPiece

Item = TypeVar("Item", contravariant=True)  # a text, or a picture as Pillow holds it
Prepared = TypeVar("Prepared")  # what an encoder makes of items before it runs its model


@dataclass
class EncodedBatch:
    """What an encoder says about B items, padded to T positions.

    Features and pooled vectors are where the encoder runs, masks always on the CPU.

    Attributes:
        features_BTD: ``[B, T, D]`` float32.
        valid_BT: ``[B, T]`` bool, False at padding.
        special_BT: ``[B, T]`` bool: CLS, SEP and their like; always active, never candidates.
        tokens: per item the names of its valid positions, for what is stored without spans; None for images.
        grid: rows and columns of the non-special valid positions, row by row; None for texts, and where items
            have different ones.
        pooled_BD: ``[B, D]`` float32, a vector for each whole item; None where it is the mean of the
            positions that aren't special.
        cut: items that were longer than the limit.
        pieces: per item its valid positions as pieces of the text; None for images, and where ``tokens`` are
            all that is known.
        geometry: per picture what its non-special valid positions show of it; None for texts, and where they
            are always the whole picture, scaled to ``grid``.
    """

    features_BTD: torch.Tensor
    valid_BT: torch.Tensor
    special_BT: torch.Tensor
    tokens: list[list[str]] | None
    grid: tuple[int, int] | None
    pooled_BD: torch.Tensor | None = None
    cut: frozenset[int] = frozenset()
    pieces: list[list[TextPiece]] | None = None
    geometry: list[Geometry] | None = None

    def cpu(self) -> EncodedBatch:
        """The same on the CPU."""
        pooled_BD = None if self.pooled_BD is None else self.pooled_BD.cpu()
        return replace(self, features_BTD=self.features_BTD.cpu(), pooled_BD=pooled_BD)


class Encoder(Protocol[Item, Prepared]):
    """A frozen encoder: it is always in evaluation mode and takes no gradients."""

    @property
    def kind(self) -> str:
        """``text`` or ``image``."""

    @property
    def width(self) -> int:
        """D, its native width."""

    @property
    def max_length(self) -> int:
        """The most positions an item can have, special ones included; where pictures keep their proportions,
        of those that were tried.
        """

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of the non-special positions of every picture.

        None for texts, and where that depends on the picture. ``EncodedBatch.geometry`` says what they show.
        """

    def prepare(self, items: Iterable[Item]) -> Prepared:
        """What can be done ahead and in any thread: tokenising, scaling; pictures are taken one by one.

        Raises:
            ValueError: a picture can't be taken; says why in one line.
        """

    def run(self, prepared: Prepared) -> EncodedBatch:
        """Encode what was prepared; the features stay on the encoder's device."""

    def encode(self, items: Iterable[Item]) -> EncodedBatch:
        """Encode texts or upright RGB pictures: ``run`` of ``prepare``, on the CPU."""

    def to(self, device: str | torch.device) -> Encoder[Item, Prepared]:
        """Move it to a device, in place."""
