"""Texts to token ids, by the tokenizer of a folder, and to pieces (``raymoe.features.text_pieces``).

Padding and masks are made here and not by the tokenizer: not every one has a padding token, gives a mask
unasked, or pads on the side where a model wants it.

Shape suffixes: B items, T positions.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import normalizers
from transformers import AutoTokenizer

from raymoe.errors import InputError
from raymoe.features.alignment import aligned
from raymoe.features.folders import from_folder
from raymoe.features.text_pieces import TextPiece, Token, pieces_of

UNLIMITED = 1 << 30


@dataclass(frozen=True)
class Tokenized:
    """A batch of texts as a model takes it.

    Attributes:
        inputs: ``input_ids``, ``attention_mask`` and, where the tokenizer gives them, ``token_type_ids``:
            ``[B, T]`` int64.
        valid_BT: False at padding.
        special_BT: what the tokenizer added.
        tokens: names of the valid positions, as in the vocabulary.
        pieces: the valid positions as pieces of the texts.
        cut: items that were longer than the limit.
    """

    inputs: dict[str, torch.Tensor]
    valid_BT: torch.Tensor
    special_BT: torch.Tensor
    tokens: list[list[str]]
    pieces: list[list[TextPiece]]
    cut: frozenset[int]


class Tokenizer:
    """The tokenizer of a folder.

    Args:
        folder: where its files are.

    Raises:
        InputError: it can't be loaded as it was meant.
    """

    def __init__(self, folder: Path) -> None:
        self._tokenizer = from_folder(AutoTokenizer, folder)
        _refuse_substitute(self._tokenizer, folder)
        self._busy = threading.Lock()  # a tokenizer's truncation is its state
        self._padding = next(
            (
                i
                for i in (self._tokenizer.pad_token_id, getattr(self._tokenizer, "eos_token_id", None))
                if i is not None
            ),
            0,  # any id will do: padding is masked
        )

    @property
    def max_length(self) -> int:
        """The most positions that it says its model takes."""
        return int(min(self._tokenizer.model_max_length or UNLIMITED, UNLIMITED))

    @property
    def puts_one_first(self) -> bool:
        """Whether the first position of every text is special."""
        mask = self._tokenizer("a", return_special_tokens_mask=True)["special_tokens_mask"]
        return bool(mask and mask[0])

    @property
    def blank(self) -> int:
        """The id that says least about what stands there: the mask, else the unknown token, else padding."""
        known = (self._tokenizer.mask_token_id, self._tokenizer.unk_token_id)
        return next((i for i in known if i is not None), self._padding)

    def lower(self) -> None:
        """Lower every text first, as its model was trained; where it does so itself, this changes nothing."""
        if self._tokenizer.is_fast:
            backend = self._tokenizer.backend_tokenizer
            before = [backend.normalizer] if backend.normalizer is not None else []
            backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *before])
        else:
            self._tokenizer.do_lower_case = True

    def __call__(self, texts: list[str], limit: int, padded_to: int | None = None) -> Tokenized:
        """Tokenise.

        Args:
            texts: B texts.
            limit: positions of a text, special ones included; what is longer is cut.
            padded_to: T; by default the longest text's.
        """
        with self._busy:
            found = self._tokenizer(
                texts,
                padding=False,
                truncation=True,
                max_length=limit,
                return_special_tokens_mask=True,
                return_offsets_mapping=self._tokenizer.is_fast,
            )
            lengths = [len(ids) for ids in found["input_ids"]]
            full = [b for b, length in enumerate(lengths) if length >= limit]
            uncut = self._tokenizer([texts[b] for b in full], verbose=False)["input_ids"] if full else []
        cut = frozenset(b for b, ids in zip(full, uncut, strict=True) if len(ids) > limit)
        longest = padded_to or max(lengths, default=0)
        # On the right, so that positions are counted alike with and without it. Without a mask a model sees
        # the padding, and gets it where it was trained to have it.
        leftward = padded_to is not None and self._tokenizer.padding_side == "left"

        def padded(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
            made = torch.full((len(rows), longest), value, dtype=torch.int64)
            for b, row in enumerate(rows):
                start = longest - len(row) if leftward else 0
                made[b, start : start + len(row)] = torch.tensor(row, dtype=torch.int64)
            return made

        valid_BT = padded([[1] * length for length in lengths], 0)
        inputs = {"input_ids": padded(found["input_ids"], self._padding), "attention_mask": valid_BT}
        if "token_type_ids" in found:
            inputs["token_type_ids"] = padded(found["token_type_ids"], self._tokenizer.pad_token_type_id)
        special = found["special_tokens_mask"]
        tokens = [self._tokenizer.convert_ids_to_tokens(ids) for ids in found["input_ids"]]
        pieces = [self._pieces(texts[b], tokens[b], found, b, b in cut) for b in range(len(texts))]
        return Tokenized(inputs, valid_BT.bool(), padded(special, 0).bool(), tokens, pieces, cut)

    def _pieces(self, text: str, names: list[str], found: Any, b: int, was_cut: bool) -> list[TextPiece]:
        special = [bool(added) for added in found["special_tokens_mask"][b]]
        if self._tokenizer.is_fast:
            spans, of_words = found["offset_mapping"][b], found.word_ids(b)
            made = [
                Token(name, added, None if added else tuple(span), word, _is_white(name, text, span))
                for name, added, span, word in zip(names, special, spans, of_words, strict=True)
            ]
            pieces = pieces_of(text, made)
            if pieces is not None:
                return pieces
        cut = self._tokenizer.truncation_side if was_cut else None
        return aligned(text, names, special, self._tokenizer.convert_tokens_to_string, cut)


def _is_white(name: str, text: str, span: Sequence[int]) -> bool:
    """Whether a token is the mark of a word's start alone, which some tokenizers put before any letter."""
    return not name.strip("▁Ġ") and text[span[0] : span[1]].strip() not in ("▁", "Ġ")


def _refuse_substitute(tokenizer: Any, folder: Path) -> None:
    """Refuse what transformers takes for SigLIP's tokenizer where sentencepiece is missing.

    It is made from the same pieces, but keeps the punctuation that SigLIP was trained without.
    """
    config = folder / "tokenizer_config.json"
    named = (
        json.loads(config.read_text(encoding="utf-8")).get("tokenizer_class") if config.is_file() else None
    )
    if named == "SiglipTokenizer" and type(tokenizer).__name__ != named:
        raise InputError(
            f"{folder}: its tokenizer {named} needs the package sentencepiece",
            "Install it with: pip install sentencepiece protobuf",
        )
