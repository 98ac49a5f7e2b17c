"""The numbers behind the streams' names are part of what every stored result was drawn from."""

from raymoe.interactions.sampling.streams import Stream
from raymoe.runtime.seeds import seed_of


def test_the_numbers_stay():
    assert {stream.name: stream.value for stream in Stream} == {
        "PILOT": 0,
        "TILES": 1,
        "TRIPLES": 3,
        "FIT": 10,
        "SPREAD": 11,
        "GRIDS": 12,
        "CONTEXTS": 13,
        "FITTED": 14,
        "ROUNDS": 20,
        "AUTO_GRIDS": 40,
        "AUTO_SPREAD": 41,
        "AUTO_CONTEXTS": 42,
        "AUTO_FIT": 43,
        "AUTO_PILOT": 44,
        "AUTO_NETWORK": 45,
    }


def test_a_stream_is_keyed_by_its_number():
    assert seed_of("coalitions", 7, Stream.SPREAD, 2) == seed_of("coalitions", 7, 11, 2)
