"""What doctor says of a cluster, with what each of its nodes answers."""

from raymoe.actors.nodes import Node, look_at_nodes, versions_here
from raymoe.cli.doctor import findings_of
from raymoe.project.workspace import Workspace


def of(what, *arguments):
    return [f for f in findings_of(*arguments) if f.what.startswith(what)]


def test_every_node_is_asked(ray_session, tmp_path):
    (node,) = look_at_nodes(ray_session, Workspace(tmp_path))
    assert (node.cpus, node.gpus, node.problem) == (2, 0, "")
    assert node.versions == versions_here()
    assert node.versions["ray"] == ray_session.__version__
    assert node.differences(versions_here()) == []
    assert list(tmp_path.iterdir()) == [], "what the nodes were to find is removed again"


def test_doctor_lists_a_clusters_nodes(ray_session, tmp_path):
    (cluster,) = of("cluster", str(tmp_path), "auto")
    assert cluster.found == "auto: 1 nodes, 2 CPUs, 0 GPUs"
    (node,) = of("node", str(tmp_path), "auto")
    assert node.state == "ok"
    assert "versions as here; workspace reached" in node.found


def test_doctor_names_what_is_wrong_with_a_node(ray_session, tmp_path, monkeypatch):
    here = versions_here()

    def say(**facts):
        node = Node(**({"name": "10.0.0.2", "cpus": 4, "gpus": 0, "versions": here} | facts))
        monkeypatch.setattr("raymoe.actors.nodes.look_at_nodes", lambda ray, place: [node])
        (finding,) = of("node", str(tmp_path), "auto")
        assert finding.what == "node 10.0.0.2"
        assert finding.state == "missing"
        assert finding.remedy
        return finding.found

    assert say(versions=here | {"torch": "1.0"}) == f"torch 1.0 (here {here['torch']})"
    assert "raymoe not installed" in say(versions=here | {"raymoe": None})
    assert "/ws is another folder there" in say(problem="/ws is another folder there")
    assert "did not answer" in say(versions={}, problem="did not answer within 60 s")
    assert "without CUDA" in say(gpus=4, gpu_names=("L4",))


def test_builds_of_one_version_are_alike():
    node = Node("10.0.0.2", 4, 0, {"torch": "2.13.0"})
    assert node.differences({"torch": "2.13.0+cpu"}) == []
    assert node.differences({"torch": "2.12.0"}) == ["torch 2.13.0 (here 2.12.0)"]
