"""The data section: where the raw data lies, what it holds, what encodes it. A class for each format."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BeforeValidator, Field, model_validator

from raymoe.config.section import Section

TaskName = Literal["multilabel", "multiclass", "binary"]
Split = Literal["train", "val", "test"]
LabelsAre = Literal["either", "names", "indices"]


class EncoderConfig(Section):
    """A frozen encoder."""

    source: str
    """`package:all-MiniLM-L6-v2`, `package:efficientnet-lite0`, or `hf:` and the name of a model of the
    Hugging Face hub or a folder; a folder is relative to the file that names it"""
    layer: int = -1
    """which hidden layer to take; -1 is the last, 0 the embedding"""
    max_length: int = Field(320, ge=3)
    """tokens kept of a text, special ones included; without meaning for images"""
    drop_cls: bool = False
    """leave the CLS position out; else it stays, always active and never a candidate"""
    pooling: Literal["mean", "cls", "model"] = "mean"
    """what stands for the whole sample: the mean of the positions that aren't special, the CLS position, or
    the model's own pooled output (`pooler_output`)"""
    # Features are computed once and used for ever, so the default is the exact one.
    precision: Literal["float32", "float16", "bfloat16"] = "float32"
    """float16 and bfloat16: mixed precision, on a GPU only"""
    dropout: bool = False
    """its own dropout acts, as where a training loop leaves frozen encoders in training mode; drawn once"""
    batch_size: int = Field(32, ge=1)
    """items at a time; without `dropout` it changes nothing but speed and memory"""


class ModalityConfig(Section):
    """One modality: where it comes from in the raw table and what encodes it."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    """what it is called in tables and on the page: small letters, digits and _"""
    kind: Literal["text", "image"]
    """what it is"""
    columns: tuple[str, ...] = Field(min_length=1)
    """where it is in the raw table; several columns of a text are joined by ". ", and the first one must not
    be empty"""
    encoder: EncoderConfig
    """what turns it into a sequence of features"""


class DataConfig(Section):
    """The raw data: a table with an id, a split, labels and a column per modality, or a dataset's folder.

    These are the fields of every format; a format's own are in the section of its name.
    """

    settable: ClassVar[tuple[str, ...]] = ("empty_text",)
    """What --set may change, beside the encoders; the rest says what the data is."""

    format: str
    """how the raw data is laid out"""
    source: str = ""
    """the table, a folder or pattern of several, or the dataset's folder, relative to the file that names it;
    `embedded:NAME` is packaged. The option --source comes first"""
    task: TaskName
    """multilabel: any number of classes per sample; multiclass: one of them; binary: one of two"""
    classes: tuple[str, ...] = Field(min_length=2)
    """names of the classes"""
    id_column: str = "sample_id"
    """column of the sample's id, which must be unique"""
    split_column: str = "split"
    """column of the split: train, val (or valid, validation, dev) or test, in small or capital letters"""
    labels_column: str = "labels"
    """column of the class indices or names: a list, one, or a text of several separated by | or ;"""
    empty_text: Literal["skip", "keep"] = "skip"
    """what becomes of samples without text; keep: such a sample has only the special tokens"""
    modalities: tuple[ModalityConfig, ...] = Field(min_length=2)
    """two or more of them"""

    @model_validator(mode="after")
    def _distinct(self) -> DataConfig:
        names = [m.name for m in self.modalities]
        taken = sorted({"sample_id", "split", "labels"} & set(names))
        if taken:
            raise ValueError(
                f"a modality can't be called {', '.join(taken)}: the tables have columns of that name"
            )
        if len(set(names)) != len(names):
            raise ValueError(f"modality names must differ, got {names}")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("class names must differ")
        return self

    def defining(self) -> dict[str, Any]:
        """The settings that the samples depend on: all but the encoders.

        Where the source lies is left out too; its content counts.
        """
        found = self.model_dump(mode="json", exclude={"source"})
        for modality in found["modalities"]:
            del modality["encoder"]
        return found


class TableData(DataConfig):
    """A table of one's own: Parquet, Arrow, CSV, TSV or JSON Lines, in one file or several; a folder that
    Hugging Face `datasets` saved, or an image folder with metadata; WebDataset shards. docs/own-tables.md has
    every form."""

    format: Literal["table"] = "table"
    labels_are: LabelsAre = "either"
    """what labels are where classes are named by numbers, and 1 may be the name of one class and the index of
    another; indices count from 0"""
    labels_separator: str | None = Field(None, min_length=1)
    """what separates several labels in one text; not set: | or ;"""
    split_rule: dict[Split, float] | None = None
    """shares of train, val and test, drawn by the hash of the id, instead of a column of splits"""

    @model_validator(mode="after")
    def _has_source(self) -> TableData:
        if not self.source:
            raise ValueError("source is missing: the path of the table")
        return self

    @model_validator(mode="after")
    def _rule(self) -> TableData:
        shares = self.split_rule
        if shares is None:
            return self
        if len(shares) != 3 or min(shares.values()) <= 0 or abs(sum(shares.values()) - 1) > 1e-6:
            raise ValueError("split_rule needs shares of train, val and test above 0 that sum to 1")
        return self

    def defining(self) -> dict[str, Any]:
        """See ``DataConfig``; the format, and what is not set, count for nothing."""
        found = super().defining()
        del found["format"]
        for name in ("split_rule", "labels_are", "labels_separator"):
            if getattr(self, name) == type(self).model_fields[name].default:
                del found[name]
        return found


class MMIMDbData(DataConfig):
    """MM-IMDb as its authors publish it: a folder of one JSON and one JPEG file per movie."""

    settable = ("split", "empty_text")

    format: Literal["mmimdb"] = "mmimdb"
    split: Literal["contiguous", "archive"] = "contiguous"
    """contiguous: of the ids in order of file names, as in the paper; archive: the authors' `split.json`"""


class EnricoData(DataConfig):
    """ENRICO as its authors publish it: folders of screenshots and wireframes, and a list of topics."""

    format: Literal["enrico"] = "enrico"


class MMHS150KData(DataConfig):
    """MMHS150K as its authors publish it: a list of tweets and a folder of their pictures."""

    settable = ("ocr_text", "empty_text")

    format: Literal["mmhs150k"] = "mmhs150k"
    ocr_text: bool = False
    """add the text that was found in the picture to the tweet's"""


class PlantedData(DataConfig):
    """Scenes with known interactions, painted from the embedded drawings: see docs/planted.md."""

    settable = ("empty_text", "scenes", "seed", "alone")

    format: Literal["planted"] = "planted"
    scenes: int = Field(1000, ge=8)
    """scenes of the training split"""
    seed: int = Field(0, ge=0)
    """what the scenes are drawn from"""
    alone: int = Field(0, ge=0)
    """scenes for each target with pairs in which it alone of these is on, after those with all of them on"""

    def defining(self) -> dict[str, Any]:
        """See ``DataConfig``; samples without scenes of a single target are those from before there were."""
        found = super().defining()
        if not self.alone:
            del found["alone"]
        return found


def _with_format(raw: Any) -> Any:
    """A section that does not say its format is of a table."""
    return {"format": "table", **raw} if isinstance(raw, dict) else raw


AnyData = Annotated[
    TableData | MMIMDbData | EnricoData | MMHS150KData | PlantedData,
    Field(discriminator="format"),
    BeforeValidator(_with_format),
]
FORMATS: dict[str, type[DataConfig]] = {
    kind.model_fields["format"].default: kind for kind in get_args(get_args(AnyData)[0])
}
