"""The paper's case study (§4.5, Fig. 5) for any sample: the dense Transformer, the experts, the top pairs.

The dense maps are computed on the fly; everything else comes from the finished tables.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from raymoe.attribution.importance import importance
from raymoe.catalogue import MIXTURE
from raymoe.display.inputs import Explained, read_explained
from raymoe.display.plots import png, svg
from raymoe.display.sample_figure import PANEL_WIDTH, Panel, pair_panel, paneled
from raymoe.display.samples import Sample, choose, describe
from raymoe.display.vocabulary import DENSE, SCORE_TITLES, default_score, expert_colors, expert_label
from raymoe.errors import InputError, ParentError
from raymoe.experiments.case_study import pictures_of
from raymoe.models.checkpoint import load_checkpoint
from raymoe.project import Project, StageResult
from raymoe.project.artifacts import CHECKPOINT, INTERACTIONS
from raymoe.project.chosen import of_kind
from raymoe.runtime.device import resolve_device
from raymoe.runtime.progress import console
from raymoe.training.train import finished

MAP_WIDTH = 330.0  # of a panel without pairs, in hundredths of an inch
PAIRS = ("synergy", "redundancy")  # whose pairs Fig. 5 shows


def measure(project: Project, *, samples: Sequence[str] = (), device: str | None = None) -> StageResult:
    """Draw Fig. 5 for some samples: ``evaluation/case-study/NAME.svg`` and ``.png`` in the run's folder.

    Args:
        project: has the tables of ``attribute`` and ``probe``. Without a finished dense run of the same
            features its maps are a gap that says how to make them.
        samples: their ids; by default the one with the strongest pair.
        device: where the dense maps are computed, as torch names it.

    Raises:
        InputError: there is no such sample, or it was not attributed.
        ParentError: a table is missing, or they are of different checkpoints.
    """
    workspace, config = project.workspace, project.preset.report
    inputs = read_explained(project)
    attributed = set(inputs.importance["sample_id"].to_pylist())
    for sample_id in samples:
        inputs.store.index_of(sample_id)  # says so where there is none
        if sample_id not in attributed:
            split = project.preset.attribute.split
            raise InputError(
                f"--sample {sample_id}: its importance was not computed, only that of split {split!r}",
                f"For another split: {project.command('attribute')} --set attribute.split=NAME --overwrite",
            )
    chosen = [(sample_id, "asked") for sample_id in dict.fromkeys(samples)]
    chosen = chosen or choose(inputs.interactions, 1, config.seed)
    shown = describe(inputs, chosen, config.pairs)
    dense, gap = _dense_maps(project, inputs, [sample.sample_id for sample in shown], device)
    folder = pictures_of(project)
    for sample in shown:
        figure = paneled(
            sample, inputs.classes, _lines(project, inputs, sample, dense.get(sample.sample_id), gap)
        )
        name = f"{folder}/{file_name(sample.sample_id)}"
        workspace.write(f"{name}.png", png(figure))
        workspace.write(f"{name}.svg", svg(figure))
        console.print(f"case study (Fig. 5) of {sample.sample_id}: {workspace.path(name)}.svg and .png")
    if gap:
        console.print(f"without the dense Transformer's maps: {gap}")
    return StageResult(workspace.path(folder), inputs.fingerprints["interactions"], ran=True)


def file_name(sample_id: str) -> str:
    """A sample's id as the name of a file; ids that differ have names that differ.

    One that reads like such a name, or like that of an unfinished file, gets a hash too.
    """
    safe = re.sub(r"[^A-Za-z0-9._-]+|(?<=\.)(?=tmp-)", "-", sample_id)[:60].strip(".-")
    if safe == sample_id and not re.search(r"-[0-9a-f]{8}$", safe):
        return safe
    hashed = hashlib.sha256(sample_id.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{safe or 'sample'}-{hashed}"


def _lines(
    project: Project, inputs: Explained, sample: Sample, dense: dict[str, list[float]] | None, gap: str
) -> list[tuple[list[Panel], float]]:
    """Fig. 5: above the maps of the dense Transformer and of every expert, below the strongest pairs."""
    colors = expert_colors(inputs.explained)
    maps = [Panel("(a) dense Transformer", "Grad × AttnRoll", DENSE, dense or {}, gap="" if dense else gap)]
    maps += [
        Panel(
            f"(b) {expert_label(expert)}",
            "expert of FL-I2MoE",
            colors[expert],
            sample.importance.get(expert, {}),
        )
        for expert in inputs.experts
    ]
    pairs = []
    for expert in (*PAIRS, MIXTURE):
        if expert not in colors:
            continue
        panel = pair_panel(sample, expert, inputs.explained, project.preset.report.pairs)
        missing = (
            f"No pair of this sample was measured for this expert ({SCORE_TITLES[default_score(expert)]}): "
            f"{INTERACTIONS.of(project).command}"
        )
        pairs.append(replace(panel, title=f"(c) {panel.title}", gap="" if panel.pairs else missing))
    if not pairs:
        return [(maps, MAP_WIDTH)]
    return [(maps, MAP_WIDTH), (pairs, max(PANEL_WIDTH, len(maps) * MAP_WIDTH / len(pairs)))]


def _dense_maps(
    project: Project, inputs: Explained, ids: list[str], device: str | None
) -> tuple[dict[str, dict[str, list[float]]], str]:
    """Per sample and modality the dense model's importance; where there is no such run, none and why."""
    command = project.with_kind("dense").command("train")
    try:
        of_dense = of_kind(project, "dense")
        if not finished(of_dense, inputs.store.fingerprint):
            return {}, f"There is no finished dense run. Make it with: {command}"
        model, _ = load_checkpoint(CHECKPOINT.of(of_dense), features=inputs.store.fingerprint)
    except ParentError as error:
        return {}, f"{error.message}. Make it with: {command}"
    device = resolve_device(device)
    model = model.to(device).requires_grad_(False).eval()
    config = of_dense.preset.attribute.model_copy(update={"method": "grad_attnroll"})
    maps = {}
    for sample_id in ids:
        place = inputs.store.index_of(sample_id)
        labels = list(inputs.store.labels[place])
        batch = inputs.store.batch([place], device, **model.reads)
        targets = [labels] if config.target == "true" and labels else None
        found = importance(model, batch, inputs.task, targets, config)
        maps[sample_id] = {
            name: _shown(inputs, place, name, found.scores[name][0, 0]) for name in inputs.modalities
        }
    return maps, ""


def _shown(inputs: Explained, place: int, modality: str, scores: np.ndarray) -> list[float]:
    """The scores of a text's pieces or of a picture's cells."""
    if inputs.modalities[modality] == "text":
        return scores.tolist()
    _, valid, special = inputs.store.sequence(place, modality)
    cells = np.asarray(valid, dtype=bool) & ~np.asarray(special, dtype=bool)
    return scores[: len(cells)][cells].tolist()
