"""The plan: lazily computed jobs, units by number, little memory, a cut that is decided once."""

import json
import math
import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tiny import tiny_preset

from raymoe.attribution.mixture_rows import with_mixture
from raymoe.config import ProbeConfig
from raymoe.errors import ParentError
from raymoe.features.store import FeatureStore
from raymoe.interactions.candidates import select_candidates
from raymoe.interactions.pieces import Work
from raymoe.probe.cut import Cut, open_cut, save_cut, unit_size
from raymoe.probe.plan import Job, Plan, make_plan
from raymoe.project.artifacts import FEATURES
from raymoe.project.contracts import IMPORTANCE
from raymoe.project.tables import read_table
from raymoe.project.workspace import Workspace

EXPERTS = ["unique:text", "unique:image", "synergy", "redundancy"]


class Jobs(Sequence):
    """Made-up ones, computed when asked for; counts how often that is."""

    def __init__(self, count):
        self.count, self.asked = count, 0
        scores = {"a": np.zeros(3), "b": np.zeros(4)}
        self.candidates = select_candidates(scores, {n: s == 0 for n, s in scores.items()}, rho=1.0)

    def __len__(self):
        return self.count

    def __getitem__(self, number):
        self.asked += 1
        return Job(number, f"s{number}", "synergy", "true", self.candidates, number)


def plan_of(works, kinds):
    config = ProbeConfig(experts=("synergy",))
    return Plan(Jobs(len(kinds)), works, np.array(kinds, dtype=np.int32), [], config)


works = st.builds(Work, st.integers(1, 12), st.integers(1, 30), st.integers(1, 500), st.integers(0, 100))


@given(
    found=st.lists(works, min_size=1, max_size=4),
    jobs=st.lists(st.integers(0, 3), min_size=1, max_size=30),
    aim=st.integers(1, 3000),
    data=st.data(),
)
@settings(deadline=None, max_examples=50)
def test_units_are_numbered_in_order_and_those_left_are_the_others(found, jobs, aim, data):
    plan = plan_of(found, [kind % len(found) for kind in jobs])
    units = plan.cut(aim)
    everything = list(units.left(np.zeros(len(units), dtype=bool)))
    assert [unit.number for unit in everything] == list(range(len(units)))
    assert [unit.key for unit in everything] == sorted(unit.key for unit in everything)
    assert all(units.job_of(unit.number) == unit.job.number for unit in everything)
    done = np.array(data.draw(st.lists(st.booleans(), min_size=len(units), max_size=len(units))), dtype=bool)
    left = [unit for unit in everything if not done[unit.number]]
    assert list(units.left(done)) == left
    assert units.evaluations(done) == sum(unit.evaluations for unit in left)


def test_two_hundred_thousand_units_take_little_memory_and_each_job_is_looked_at_once():
    kinds = np.arange(10_000, dtype=np.int32) % 2
    tracemalloc.start()
    try:
        plan = plan_of([Work(16, 4000, 90), Work(24, 4000, 90)], kinds)
        units = plan.cut(4096)
        done = np.zeros(len(units), dtype=bool)
        for unit in units.left(done):
            done[unit.number] = True
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(units) == 200_000
    assert done.all()
    assert plan.jobs.asked == 10_000
    assert peak < 2_000_000  # 10 bytes a unit: a tenth of what ten million may take


def tiny_plan(tiny, importance=None, **fields):
    store = FeatureStore.open(FEATURES.of(tiny))
    if importance is None:
        importance = read_table(tiny.workspace, f"{tiny.run}/importance.arrow", IMPORTANCE, "")
    return make_plan(
        store, importance, EXPERTS, tiny_preset(probe=fields).probe, made_by="raymoe attribute tiny"
    )


def test_jobs_are_by_expert_then_sample_in_the_tables_order(tiny):
    plan = tiny_plan(tiny)
    assert [(job.expert, job.sample_id) for job in plan.jobs] == [
        (expert, sample) for expert in ("synergy", "redundancy") for sample in ("s2", "s4", "s5", "s6", "s7")
    ]
    assert [job.number for job in plan.jobs] == list(range(10))
    assert [job.expert for job in plan.jobs] == ["synergy"] * 5 + ["redundancy"] * 5
    with pytest.raises(IndexError):
        plan.jobs[10]
    few = tiny_plan(tiny, max_samples=3)
    assert [job.sample_id for job in few.jobs] == ["s2", "s4"] * 2
    assert [entry["sample_id"] for entry in few.skipped] == ["s3"]


def test_a_missing_row_and_no_experts_are_named(tiny):
    importance = read_table(tiny.workspace, f"{tiny.run}/importance.arrow", IMPORTANCE, "")
    keep = np.ones(importance.num_rows, dtype=bool)
    rows = importance.select(["sample_id", "expert", "modality"]).to_pylist()
    keep[rows.index({"sample_id": "s5", "expert": "redundancy", "modality": "image"})] = False
    with pytest.raises(
        ParentError, match="no row for sample s5, expert redundancy, modality image"
    ) as caught:
        tiny_plan(tiny, importance.filter(keep))
    assert caught.value.remedy == "Compute it again with: raymoe attribute tiny --overwrite"


def test_the_mixtures_universe_is_what_matters_to_its_experts_in_the_mean(tiny):
    importance = read_table(tiny.workspace, f"{tiny.run}/importance.arrow", IMPORTANCE, "")
    plan, rows = tiny_plan(tiny, experts=["mixture", "synergy"]), importance.to_pylist()
    store = FeatureStore.open(FEATURES.of(tiny))
    means = {
        (r["sample_id"], r["modality"]): r["scores"]
        for r in with_mixture(importance).to_pylist()[len(rows) :]
    }
    assert [job.expert for job in plan.jobs] == ["mixture"] * 5 + ["synergy"] * 5
    for job in plan.jobs[:5]:
        scores = {}
        for name in ("text", "image"):
            each = [r["scores"] for r in rows if (r["sample_id"], r["modality"]) == (job.sample_id, name)]
            assert len(each) == len(EXPERTS)
            scores[name] = np.mean(np.array(each, dtype=np.float64), 0).astype(np.float32)
            np.testing.assert_array_equal(scores[name], means[job.sample_id, name])
        wanted = select_candidates(scores, store.candidates(store.index_of(job.sample_id)), rho=0.5)
        assert job.candidates.players == wanted.players
    assert with_mixture(with_mixture(importance)).num_rows == len(rows) * 5 // 4


MANY = Work(1 << 20, 4000, 0)  # a job that no unit holds


@given(rate=st.floats(1, 1e9))
def test_a_unit_is_a_power_of_four_that_takes_about_half_a_second(rate):
    size = unit_size(rate, plan_of([MANY], [0]))
    assert math.log(size, 4) == pytest.approx(round(math.log(size, 4)))
    assert size == 64 or 0.249 < size / rate < 1.001


def test_devices_that_are_equal_but_for_noise_choose_alike():
    plan, middle = plan_of([MANY], [0]), 2 * 16384
    assert {unit_size(middle * factor, plan) for factor in np.linspace(0.51, 1.95, 50)} == {16384}
    assert math.log2(unit_size(middle * 3, plan)) == 16


def test_a_size_that_leaves_every_job_whole_is_as_large_as_any():
    """However fast the device, so that the tables of small probes tell nothing of it."""
    plan = plan_of([Work(16, 100, 0), Work(16, 400, 0)], [0, 1, 1])
    assert {unit_size(rate, plan) for rate in (1e4, 1e6, 1e9)} == {4096}
    assert len(plan.cut(4096)) == 3
    assert unit_size(1500.0, plan) == 1024


@given(earlier=st.sampled_from([64, 1000, 4096, 16384]), rate=st.floats(100, 1e6))
def test_an_earlier_size_is_kept_where_it_still_suits(earlier, rate):
    plan = plan_of([MANY], [0])
    found = unit_size(rate, plan, earlier)
    assert found == (earlier if 0.1 <= earlier / rate <= 2 else unit_size(rate, plan))


def never():
    raise AssertionError("measured again")


def test_the_cut_is_decided_once(tmp_path):
    workspace, plan = Workspace(tmp_path), plan_of([Work(16, 4000, 90)], [0] * 5)
    units, cut = open_cut(workspace, "u", plan, "abc", None, lambda: 8000.0, "again")
    assert (units.unit_evaluations, cut.rate, cut.units) == (4096, 8000.0, 80)
    assert cut.note_device("b")
    assert cut.note_device("a")
    assert not cut.note_device("b")
    save_cut(workspace, "u", cut)
    later, found = open_cut(workspace, "u", plan, "abc", None, never, "again")
    assert (later.unit_evaluations, found) == (4096, cut)
    assert found.devices == ["a", "b"]
    unknown, cut = open_cut(workspace, "w", plan, "abc", None, lambda: None, "again")
    assert (unknown.unit_evaluations, cut.rate) == (4096, None)
    again, _ = open_cut(workspace, "x", plan, "abc", None, lambda: 30_000.0, "again", earlier=4096)
    assert again.unit_evaluations == 4096
    asked, _ = open_cut(workspace, "v", plan, "abc", 500, never, "again", earlier=4096)
    assert asked.unit_evaluations == 500


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 0}, "can't be read .format 0"),
        ({"units": 7}, "holds units of another plan"),
        ({"plan": "x"}, "holds units of another plan"),
        ({"versions": {"raymoe": "0.0.9"}}, "was begun by raymoe 0.0.9, this is"),
        (None, "can't be read"),
    ],
)
def test_what_another_version_or_plan_left_is_refused(tmp_path, change, message):
    workspace, plan = Workspace(tmp_path), plan_of([Work(16, 4000, 90)], [0] * 5)
    _, cut = open_cut(workspace, "u", plan, "abc", 4096, never, "raymoe probe x --overwrite")
    content = json.dumps(vars(cut) | change) if change else json.dumps(vars(cut))[:-9]
    workspace.write("u/plan.json", content.encode())
    with pytest.raises(ParentError, match=message) as caught:
        open_cut(workspace, "u", plan, "abc", 4096, never, "raymoe probe x --overwrite")
    assert "raymoe probe x --overwrite" in caught.value.remedy
    assert isinstance(cut, Cut)


def test_auto_is_the_default_and_a_number_still_works():
    assert ProbeConfig().unit_evaluations is None
    assert ProbeConfig(unit_evaluations="auto").unit_evaluations is None
    assert ProbeConfig(unit_evaluations=7).unit_evaluations == 7
    assert ProbeConfig.model_validate({"unit_evaluations": "500"}).unit_evaluations == 500
