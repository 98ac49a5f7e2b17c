"""The TOML file that describes a table, to be edited: what was guessed, why, and what is to be checked."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from raymoe.config import Preset
from raymoe.data.look import Column, Looked, label_texts
from raymoe.data.prepare import read_checked
from raymoe.errors import InputError
from raymoe.runtime.quoting import in_short, quoted

SMALL = 10_000  # training samples: with fewer the demo's model and training, with more the paper's
STEPS = 300  # of training, about what the demo takes
BATCH = 32
SHARES = ({"train": 0.7, "val": 0.1, "test": 0.2}, {"train": 0.6, "val": 0.2, "test": 0.2})
CHECK = "# check this: "
LISTED = 100  # classes that get a line each
MANY_EXPLAINED = 1000  # test samples


@dataclass(frozen=True)
class Suggestion:
    """A file's text, and what in it the user has to decide."""

    text: str
    checks: tuple[str, ...]
    problem: str = ""  # what ``prepare`` refuses


def suggest(looked: Looked, source: str, name: str) -> Suggestion:
    """What to write.

    It is read back and held against the table: what ``prepare`` would refuse, or read otherwise than it was
    meant, is said.

    Args:
        looked: what the table seems to be.
        source: how the file is to name the table.
        name: the dataset's folder in a workspace.
    """
    best: tuple[int, Suggestion] | None = None
    for shares in (None,) if looked.split else SHARES:
        draft = _render(looked, source, name, shares, {}, "")
        splits, poor, problem = _tried(draft, looked)
        text = _render(looked, source, name, shares, splits, problem)
        checks = tuple(line.partition(CHECK)[2] for line in text.splitlines() if CHECK in line)
        if best is None or poor < best[0]:
            best = poor, Suggestion(text, checks, problem)
    assert best is not None
    return best[1]


def _tried(text: str, looked: Looked) -> tuple[dict[str, int], int, str]:
    """Samples of each split as they will be, how many classes and splits come away empty, what is refused."""
    raw = tomllib.loads(text)
    raw["data"]["source"] = looked.source
    preset = Preset.model_validate(raw)
    try:
        _, splits, labels, values = read_checked(preset.data)
    except InputError as error:
        return {}, 0, in_short(error.message, 300)
    classes = preset.data.classes
    meant = [sorted(set(label_texts(value, looked.separator) or [])) for value in values]
    read = [sorted(classes[i] for i in found) for found in labels]
    other = [i for i, (a, b) in enumerate(zip(meant, read, strict=True)) if a != b]
    if other:
        first = other[0]
        return {}, 0, f"row {first + 1} says {quoted(values[first])}, which would be read as {read[first]}"
    counts = Counter(splits)
    absent = [split for split in ("train", "val", "test") if not counts[split]]
    problem = f"no sample in {' and '.join(absent)}" if absent else ""
    seen = {
        split: {c for s, row in zip(splits, read, strict=True) if s == split for c in row} for split in counts
    }
    poor = 100_000 * len(absent) + sum(len(classes) - len(found) for found in seen.values())
    return dict(counts), poor, problem


def _render(
    looked: Looked,
    source: str,
    name: str,
    shares: Mapping[str, float] | None,
    splits: Mapping[str, int],
    problem: str,
) -> str:
    train = splits.get("train", round(looked.rows * (shares or SHARES[0])["train"]))
    lines = [
        f"# Written by `raymoe init` from {quoted(source)} ({looked.rows:,} rows): guesses, to be edited.",
        "# What each field means: `raymoe settings data`, docs/own-data.md. Then: raymoe report THIS_FILE",
        *([f"{CHECK}as it is, `raymoe prepare` refuses it: {_comment(problem)}"] if problem else []),
        f"name = {_string(name)}  # the folder of its results in the workspace",
        "",
        "[data]",
        f"source = {_string(source)}  # relative to this file",
        *_checked(looked.id.check),
        f"id_column = {_string(looked.id.column)}  # {_comment(looked.id.why)}",
        *_split_lines(looked, shares, splits),
        *_label_lines(looked),
        *_modality_lines(looked),
        *(f"# not used: {quoted(column)} ({_comment(why)})" for column, why in looked.unused.items()),
        "",
        *_model_lines(looked, train, splits),
    ]
    return "\n".join(lines) + "\n"


def _checked(check: str) -> list[str]:
    return [f"{CHECK}{_comment(check)}"] if check else []


def _split_lines(
    looked: Looked, shares: Mapping[str, float] | None, splits: Mapping[str, int]
) -> Iterator[str]:
    if looked.split:
        yield f"split_column = {_string(looked.split.column)}  # {looked.split.why}"
        return
    yield from _checked(looked.split_check)
    rule = ", ".join(f"{split} = {share:g}" for split, share in (shares or SHARES[0]).items())
    counts = ", ".join(f"{split} {splits.get(split, 0):,}" for split in ("train", "val", "test"))
    drawn = f", which gives {counts}" if splits else ""
    yield f"# {_comment(looked.split_why)}: drawn by the hash of the id, the same every time{drawn}"
    yield f"split_rule = {{{rule}}}"


def _label_lines(looked: Looked) -> Iterator[str]:
    yield from _checked(looked.labels.check)
    yield f"labels_column = {_string(looked.labels.column)}  # {_comment(looked.labels.why)}"
    why = {
        "multilabel": f"some samples have several classes or none, {looked.per_sample:.1f} on average",
        "multiclass": "every sample has one class",
        "binary": "every sample has one of two classes",
    }[looked.task]
    if looked.separator:
        yield CHECK + "several labels in one text; without the next line each whole text would be one class"
        yield f"labels_separator = {_string(looked.separator)}"
    yield f'task = "{looked.task}"  # {why}'
    if all(name.isdecimal() for name in looked.classes):
        as_indices = list(looked.classes) == [str(i) for i in range(len(looked.classes))]
        if as_indices:
            yield CHECK + "the labels are numbers from 0: write the classes' names here, in that order"
        else:
            yield CHECK + "the labels are numbers that don't count from 0, so they are taken as names"
            yield 'labels_are = "names"  # "indices" would count the classes below from 0'
    rare = [name for name, count in looked.classes.items() if count < 3]
    if rare:
        names = ", ".join(map(quoted, rare[:3])) + (", ..." if len(rare) > 3 else "")
        yield f"{CHECK}{len(rare)} classes have fewer than 3 samples ({names}): misspelt, or to be left out?"
    yield f"classes = [  # {len(looked.classes)}, with the samples of each"
    if len(looked.classes) <= LISTED:
        yield from (f"    {_string(name)},  # {count:,}" for name, count in looked.classes.items())
    else:
        yield from (f"    {_string(name)}," for name in looked.classes)
    yield "]"


def _modality_lines(looked: Looked) -> Iterator[str]:
    names: list[str] = []
    joined = bool(looked.pictures)
    for columns in [looked.texts] if joined and looked.texts else [(c,) for c in looked.texts]:
        called = _modality_name("text" if joined else columns[0].name, "text", names)
        yield from _text_lines(called, columns)
    for column in looked.pictures:
        called = _modality_name("image" if len(looked.pictures) == 1 else column.name, "image", names)
        yield from _picture_lines(called, column)


def _text_lines(name: str, columns: tuple[Column, ...]) -> Iterator[str]:
    counts = sorted(sum(column.words[i] for column in columns) for i in range(len(columns[0].words)))
    long = counts[min(len(counts) - 1, int(0.95 * len(counts)))]
    tokens = min(256, max(16, 8 * math.ceil((1.4 * long + 2) / 8)))
    yield from ("", "[[data.modalities]]", f"name = {_string(name)}", 'kind = "text"')
    for column in columns:
        if column.empty:
            yield f"# {quoted(column.name)}: {column.empty:,} are empty"
    why = f"{', '.join(f'{c.mean_words:.0f}' for c in columns)} words on average"
    joined = "; joined, and samples without the first are left out" if len(columns) > 1 else ""
    yield f"columns = [{', '.join(_string(c.name) for c in columns)}]  # {why}{joined}"
    yield f"# {tokens} tokens hold most of these texts. The packaged encoder is small and knows English:"
    yield f'encoder = {{source = "package:all-MiniLM-L6-v2", max_length = {tokens}}}'
    yield f'# encoder = {{source = "hf:roberta-base", max_length = {tokens}}}  # or any of the hub'


def _picture_lines(name: str, column: Column) -> Iterator[str]:
    yield from ("", "[[data.modalities]]", f"name = {_string(name)}", 'kind = "image"')
    yield from _checked(column.check)
    empty = f"; {column.empty:,} of those looked at are empty" if column.empty else ""
    yield f"columns = [{_string(column.name)}]  # {_comment(column.note)}{empty}"
    yield 'encoder = {source = "package:efficientnet-lite0", batch_size = 4}  # 7 x 7 patches'
    yield '# encoder = {source = "hf:openai/clip-vit-base-patch16", drop_cls = true}  # 14 x 14'


def _modality_name(wanted: str, kind: str, taken: list[str]) -> str:
    """A name that the tables can have as a column; noted as taken."""
    name = re.sub(r"[^a-z0-9]+", "_", wanted.lower()).strip("_")
    if not re.match(r"[a-z]", name) or name in ("sample_id", "split", "labels"):
        name = f"{kind}_{name}".strip("_")
    base, number = name, 2
    while name in taken:
        name, number = f"{base}_{number}", number + 1
    taken.append(name)
    return name


def _model_lines(looked: Looked, train: int, splits: Mapping[str, int]) -> Iterator[str]:
    one_label = looked.task != "multilabel"
    if train > SMALL:
        yield f"# {train:,} training samples: the paper's model and training, which are the defaults."
        yield from ("[train]", "epochs = 40  # the best one by validation is kept")
    else:
        batch = BATCH if train >= 4 * BATCH else 16
        steps = max(1, math.ceil(train / batch))
        epochs = min(40, max(7, math.ceil(STEPS / steps)))
        yield f"# {train:,} training samples: the demo's small model and training. Without these fields the"
        yield "# paper's recipe holds, which is made for ten thousands of samples and a GPU."
        yield from ("[model]", "hidden_dim = 64", "num_heads = 2", "dropout = 0.3", "dropout_attention = 0.0")
        yield "temperature_rw = 10.0  # on small data a sharper gate gives nearly all weight to one expert"
        yield from ("hidden_dim_rw = 64", "dropout_rw = 0.1", "", "[train]")
        yield f"epochs = {epochs}  # {steps} steps each; the best one by validation is kept"
        yield f"batch_size = {batch}"
        yield from ("lr = 2e-3", "weight_decay = 1.5e-4")
        yield "interaction_loss_weight = 0.1  # with a loss of its own per expert: keeps all of them in use"
        yield "expert_task_weight = 1.0"
    if not one_label:
        share = min(0.5, max(0.001, looked.per_sample / len(looked.classes)))
        weight = min(4.0, round(math.sqrt((1 - share) / share), 1))
        rate = f"{looked.per_sample:.1f} of {len(looked.classes)} classes"
        yield f"positive_weight = {weight:g}  # a sample has {rate}, so one that is there counts more"
    counts = list(looked.classes.values())
    uneven = one_label and max(counts) > 3 * min(counts)
    selection = "accuracy" if one_label and not uneven else "macro_f1" if one_label else "micro_f1"
    why = {"accuracy": "classes are of similar size", "macro_f1": "classes are of different size"}
    yield f'selection = "{selection}"  # the best epoch by this: {why.get(selection, "counts every label")}'
    if train <= SMALL:
        yield from ("", "[sweep]", "temperatures = [5.0, 10.0, 20.0]  # what `raymoe sweep` tries")
    yield from ("", "[probe]", "min_features = 4  # words and patches of a sample that are paired, at least")
    many = splits.get("test", 0) > MANY_EXPLAINED
    yield f"{CHECK if many else ''}# max_samples = 500  # measures the pairs of so many test samples alone"


def _string(text: str) -> str:
    """A TOML string: JSON's, and DEL escaped too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _comment(text: str) -> str:
    """On one line, without what a comment must not hold."""
    text = " ".join(text.split())
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
