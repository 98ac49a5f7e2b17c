"""What an actor holds, by what the cluster has and what is asked for; one message where a GPU is missing."""

import pytest
import torch

from raymoe.actors.shape import ActorShape, actor_shape, device_of
from raymoe.errors import RaymoeError
from raymoe.runtime.device import resolve_device

LAPTOP, WORKERS = [{"CPU": 8.0}], [{"CPU": 16.0, "GPU": 4.0}] * 2


@pytest.mark.parametrize(
    ("node", "share", "cpus", "wanted"),
    [
        ({"CPU": 8, "GPU": 4}, 1, 1, 4),
        ({"CPU": 8, "GPU": 4}, 0.5, 1, 8),
        ({"CPU": 2, "GPU": 4}, 0.5, 0, 8),
        ({"CPU": 8, "GPU": 2}, 0.3, 1, 6),
        ({"CPU": 3}, 0, 1, 3),
        ({"CPU": 8}, 1, 1, 0),
    ],
)
def test_actors_per_node(node, share, cpus, wanted):
    assert ActorShape(cpus, share).fits(node) == wanted


def test_one_actor_per_gpu_or_per_core():
    assert actor_shape(LAPTOP) == ActorShape(1, threads=1)
    assert actor_shape(WORKERS) == ActorShape(1, 1)
    assert actor_shape(WORKERS, device="cpu") == ActorShape(1, threads=1)
    assert actor_shape(WORKERS, gpu_share=0.5) == ActorShape(1, 0.5)
    assert actor_shape(WORKERS, gpu_share=0.2) == ActorShape(0, 0.2), "20 actors share 16 cores"
    assert actor_shape([*LAPTOP, *WORKERS]).device == "cuda"
    assert actor_shape(LAPTOP, device="cuda", waits=True) == ActorShape(1, 1)
    assert sum(map(actor_shape(LAPTOP * 3).fits, LAPTOP * 3)) == 24


def per_node(nodes, asked=None, device=None, most=100):
    shape = actor_shape(nodes, per="node", asked=asked, device=device, most=most)
    room = sum(map(shape.fits, nodes))
    assert room >= shape.most, "each of them finds a place"
    return shape.most, shape.num_cpus, shape.num_gpus, shape.threads


def test_one_actor_per_gpu_or_per_node():
    assert per_node(LAPTOP) == (1, 8, 0, 8)
    assert per_node(LAPTOP * 3) == (3, 8, 0, 8)
    assert per_node([{"CPU": 8.0}, {"CPU": 4.0}]) == (2, 4, 0, 4)
    assert per_node(WORKERS) == (8, 4, 1, 4)
    assert per_node(WORKERS, most=3) == (3, 4, 1, 4)
    assert per_node([*LAPTOP, *WORKERS]) == per_node(WORKERS)
    assert per_node([{"CPU": 96.0, "GPU": 2.0}]) == (2, 8, 1, 8)
    assert per_node(WORKERS, device="cpu") == (2, 16, 0, 16)


def test_more_actors_than_gpus_or_nodes_share_them():
    assert per_node([{"CPU": 2.0, "GPU": 1.0}], 3) == (3, 2 / 3, 1 / 3, 1)
    assert per_node([{"CPU": 16.0, "GPU": 2.0}], 3) == (3, 4, 1 / 2, 4)
    assert per_node([{"CPU": 2.0}], 9) == (2, 1, 0, 1)


def test_only_threads_that_would_spin_are_told_not_to():
    assert actor_shape(LAPTOP).environment == {}
    assert actor_shape(LAPTOP, per="node").environment == {"OMP_WAIT_POLICY": "PASSIVE"}


def test_a_gpu_that_is_missing_is_said_in_the_same_words_everywhere(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    said = []
    for ask in (
        lambda: actor_shape(LAPTOP, device="cuda"),
        lambda: actor_shape(LAPTOP, per="node", device="cuda"),
        lambda: device_of(LAPTOP, "cuda"),
        lambda: resolve_device("cuda"),
    ):
        with pytest.raises(RaymoeError, match=r"--device cuda, but .* has no GPU") as error:
            ask()
        assert error.value.remedy.startswith("Leave --device out to use the CPU; `raymoe doctor`")
        said.append(error.value.message)
    assert said[0] == said[1] == said[2] == "--device cuda, but the cluster has no GPU (8 CPUs)"
