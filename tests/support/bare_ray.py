"""Ray without what no test here looks at, which takes half of the processor time of its start."""

from ray._private.node import Node


def start_bare() -> None:
    """This process starts its Rays without an autoscaler, a log monitor and a dashboard from here on."""
    for name in ("start_monitor", "start_log_monitor", "start_api_server"):
        assert hasattr(Node, name), "it is called otherwise in this Ray"
        setattr(Node, name, lambda self, *arguments, **options: None)
