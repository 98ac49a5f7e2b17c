"""What a Hugging Face folder holds, opened: from its files alone, and never by code of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from raymoe.errors import InputError

# Libraries without which transformers opens a folder otherwise than it was meant, or not at all.
EXTRAS = ("sentencepiece", "tiktoken", "protobuf", "sacremoses", "fugashi", "mistral_common")


def from_folder(loader: Any, folder: Path, **options: Any) -> Any:
    """What ``loader.from_pretrained`` makes of a folder.

    Raises:
        InputError: it can't; says why in one line, and names a library that is missing.
    """
    try:
        return loader.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **options)
    except Exception as error:  # OSError, ValueError, SafetensorError, KeyError: it depends on the file
        said = " ".join(str(error).split())
        lacking = next((name for name in EXTRAS if name in said.lower()), None)
        if "trust_remote_code" in said:
            said, remedy = (
                "it needs code of its own, which raymoe does not run",
                ("Take a model that transformers has the code of."),
            )
        elif lacking:
            remedy = f"Install what it needs with: pip install {lacking}"
        else:
            remedy = (
                "Give a folder that holds the model with its tokenizer or image processor, as "
                "save_pretrained writes them."
            )
        raise InputError(f"{loader.__name__} can't be loaded from {folder}: {said[:300]}", remedy) from None
