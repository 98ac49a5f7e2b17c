"""Does the units of masking at the input: the frozen encoders, the model, and the samples as they came.

A variant is what the model makes of one masked text or picture: its encoder's positions, halved as the
feature store halves them, projected to the model's width. What is kept lives as long as a unit: which inputs
share an encoder's batch decides their last bits, so a cache that outlived a unit would make tables depend on
which actor did what.

Shapes: k variants or combinations, T_m positions of modality m, D hidden width, E experts, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from raymoe.catalogue import MIXTURE
from raymoe.config import ModalityConfig, ProbeConfig
from raymoe.data.pictures import decode
from raymoe.data.samples_file import SamplesFile
from raymoe.errors import RaymoeError
from raymoe.features.encoder import EncodedBatch
from raymoe.features.lookup import load_encoder
from raymoe.features.masked_picture import MaskedPicture, region_boxes
from raymoe.features.masked_words import WordFinder, seen_text, without
from raymoe.interactions.games.expert import expert_index
from raymoe.interactions.games.masked_input import MaskedInputGame, MaskedInputs
from raymoe.interactions.pieces import block_sums_of
from raymoe.models.base import FusionModel
from raymoe.models.model_source import ModelSource, OpenedModel
from raymoe.models.target import target_weights
from raymoe.probe.plan import Job, Unit
from raymoe.project import Project
from raymoe.project.artifacts import SAMPLES
from raymoe.project.outputs import Output
from raymoe.runtime.device import device_name

Encode = Callable[[np.ndarray], Sequence[Tensor]]


@dataclass(frozen=True)
class InputSource:
    """What an ``InputRunner`` opens.

    Attributes:
        model: checkpoint and features.
        samples: the samples table.
        modalities: with their encoders, in the order of the store.
        config: the rule and the experts.
    """

    model: ModelSource
    samples: Output
    modalities: tuple[ModalityConfig, ...]
    config: ProbeConfig

    @classmethod
    def of(cls, project: Project, parents: dict[str, str]) -> InputSource:
        """That of a project whose model and features have these fingerprints."""
        model = ModelSource.of(project, parents)
        modalities = tuple(project.preset.data.modalities)
        return cls(model, SAMPLES.of(project), modalities, project.preset.probe)


class InputRunner:
    """Holds encoders and model. Nothing is opened before ``ready``, so that its errors reach the driver.

    Args:
        source: what to open.
        device: ``cpu`` or ``cuda``.
        threads: of torch; None leaves them as they are.
    """

    def __init__(self, source: InputSource, device: str, threads: int | None = None) -> None:
        self.source, self.device, self.threads = source, device, threads
        self.dtype: torch.dtype = getattr(torch, source.config.precision)

    def ready(self) -> str:
        """Open everything; answers with the name of the device."""
        _ = self.opened, self._encoders, self._finders, self._rows
        return device_name(self.device)

    @cached_property
    def opened(self) -> OpenedModel:
        """Features and model, the model on the device and in the precision that is asked for."""
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        if self.threads:
            torch.set_num_threads(self.threads)
        store, model, info = self.source.model.open()
        return OpenedModel(store, model.to(self.device, self.dtype), info)

    def run(self, unit: Unit) -> bytes:
        """The unit's running sums as an Arrow IPC stream: every expert's rows, one per pair, in their order.

        Raises:
            RaymoeError: a picture can't be cut, or the model's output is not finite.
        """
        job, config = unit.job, self.source.config
        inputs = self.inputs_of(job)
        games = [
            MaskedInputGame(inputs, e, f"sample {job.sample_id}, expert {expert}")
            for e, expert in enumerate(config.experts)
        ]
        found = block_sums_of(
            games,
            job.candidates.pairs,
            len(job.candidates.players),
            method=unit.method,
            coalitions=unit.coalitions,
            start=unit.start,
            stop=unit.stop,
            seed=job.seed,
            law=unit.law,
        )
        table = pa.concat_tables([pa.table(sums.columns()) for sums in found])
        table = table.replace_schema_metadata({"device": device_name(self.device)})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        answer: bytes = sink.getvalue().to_pybytes()
        return answer

    def inputs_of(self, job: Job) -> MaskedInputs[Tensor]:
        """The job's sample with its players, one value for each expert of the settings."""
        store, model, _ = self.opened
        index = store.index_of(job.sample_id)
        raw = self._samples.rows(self._rows[job.sample_id], self._rows[job.sample_id] + 1).to_pylist()[0]
        names = [m.name for m in self.source.modalities]
        encode: list[Encode] = []
        for m in self.source.modalities:
            numbers = [number for name, number in job.candidates.players if name == m.name]
            if m.kind == "text":
                encode.append(self._masked_text(m, raw[m.name] or "", index, numbers))
            else:
                encode.append(self._masked_picture(m, raw[m.name], index, job))
        return MaskedInputs(
            encode,
            _Fusion(model, self.source.config.experts, names, self._target(job, index)),
            [names.index(name) for name, _ in job.candidates.players],
        )

    def _masked_text(self, m: ModalityConfig, text: str, index: int, numbers: list[int]) -> Encode:
        length = len(self.opened.store.sequence(index, m.name)[0])
        words = self._finders[m.name].words(text, length)
        seen = seen_text(text, words, self._finders[m.name].is_cut(text, length))
        chosen = [words[number] for number in numbers]

        def encode(masks: np.ndarray) -> list[Tensor]:
            return self._variants(m, [without(seen, chosen, kept) for kept in masks])

        return encode

    def _masked_picture(self, m: ModalityConfig, data: bytes, index: int, job: Job) -> Encode:
        store, config = self.opened.store, self.source.config
        picture = decode(data)
        found = store.geometry(index, m.name)
        if found is None:
            raise RaymoeError(
                f"{job.name}: the feature store does not say which part of {m.name} its encoder sees",
                "Encode again with --overwrite.",
            )
        try:
            masked = MaskedPicture(picture, region_boxes(found.seen, *config.region_grid), config.fill)
        except ValueError as error:
            raise RaymoeError(
                f"sample {job.sample_id}, {m.name}: {error}", "Take fewer probe.regions."
            ) from None

        def encode(masks: np.ndarray) -> list[Tensor]:
            size = m.encoder.batch_size
            variants: list[Tensor] = []
            for start in range(0, len(masks), size):  # in full size pictures are large
                variants += self._variants(m, [masked.without(kept) for kept in masks[start : start + size]])
            return variants

        return encode

    def _variants(self, m: ModalityConfig, items: Sequence[object]) -> list[Tensor]:
        """Each item's valid positions at the model's width, [T_m, D]."""
        _, model, _ = self.opened
        projection = model.projections[model.names.index(m.name)]
        found: list[Tensor] = []
        for start in range(0, len(items), m.encoder.batch_size):
            encoder = self._encoders[m.name]
            encoded = encoder.run(encoder.prepare(items[start : start + m.encoder.batch_size]))
            for features_TD, valid_T in zip(encoded.features_BTD.half(), encoded.valid_BT, strict=True):
                kept_TD = features_TD[valid_T.to(features_TD.device)]
                found.append(projection(kept_TD.to(self.device, self.dtype)))
        return found

    def _target(self, job: Job, index: int) -> Tensor:
        store, model, info = self.opened
        labels = store.labels[index]
        if job.target == "predicted":
            batch = store.batch([index], self.device, **model.reads)
            features = {name: values.to(self.dtype) for name, values in batch.features.items()}
            with torch.no_grad():
                logits = model(features, batch.valid).logits_BC
            labels = store.task.explained_classes(logits)[0]
        return target_weights(labels, len(info.classes)).to(self.device, self.dtype)

    @cached_property
    def _encoders(self) -> dict[str, AnyEncoder]:
        return {m.name: load_encoder(m.kind, m.encoder, self.device) for m in self.source.modalities}

    @cached_property
    def _finders(self) -> dict[str, WordFinder]:
        return {m.name: WordFinder(m.encoder) for m in self.source.modalities if m.kind == "text"}

    @cached_property
    def _samples(self) -> SamplesFile:
        return SamplesFile(self.source.samples)

    @cached_property
    def _rows(self) -> dict[str, int]:
        """Where each sample is in the samples table."""
        ids = self.source.samples.read(["sample_id"])["sample_id"].to_pylist()
        return {sample_id: i for i, sample_id in enumerate(ids)}


class AnyEncoder(Protocol):
    """What an encoder of any modality does here."""

    def prepare(self, items: Sequence[object]) -> object:
        """On the CPU."""

    def run(self, prepared: object) -> EncodedBatch:
        """On the device."""


class _Fusion:
    """Puts variants together: the target's logit of each expert that is asked for, or of the mixture."""

    def __init__(
        self, model: FusionModel, experts: Sequence[str], names: list[str], target_C: Tensor
    ) -> None:
        self._model, self._names, self._target_C = model, names, target_C
        several = len(model.expert_names) > 1  # the dense Transformer is its only expert
        self._asked = [
            -1 if expert == MIXTURE and several else expert_index(model, expert if several else 0)
            for expert in experts
        ]  # -1: the mixture
        # A few experts alone are cheaper than all of them in one batch.
        self._single = None if -1 in self._asked else [model.experts.select(e) for e in self._asked]

    def __call__(self, combinations: Sequence[tuple[Tensor, ...]]) -> np.ndarray:
        """Values [k, K] of combinations."""
        embeddings, valid = {}, {}
        for name, each in zip(self._names, zip(*combinations, strict=True), strict=True):
            embeddings[name] = pad_sequence(list(each), batch_first=True)
            lengths = torch.tensor([len(variant) for variant in each], device=embeddings[name].device)
            places = torch.arange(embeddings[name].shape[1], device=lengths.device)
            valid[name] = places < lengths[:, None]
        model = self._model
        inputs = model.fusion_input(embeddings, valid)
        given = inputs.tokens_BTD, inputs.key_bias_BT, inputs.pool_BMT
        if self._single is not None:
            values = [expert(*given)[0] @ self._target_C for expert in self._single]
        else:
            of_experts_Ek = model.experts(*given) @ self._target_C
            mixture_k = (of_experts_Ek * model.gate_weights(embeddings, valid).T).sum(0)
            values = [mixture_k if e < 0 else of_experts_Ek[e] for e in self._asked]
        return torch.stack(values, 1).double().cpu().numpy()
