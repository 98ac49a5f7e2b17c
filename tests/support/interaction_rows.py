"""Rows of the table of interactions, made by hand."""

from raymoe.project.contracts import INTERACTIONS


def interaction_row(**given):
    """A row with what was given; every other number is 0."""
    row = {field.name: 0 for field in INTERACTIONS.schema if str(field.type) != "string"}
    unknown = given.keys() - set(INTERACTIONS.schema.names)
    assert not unknown, unknown
    return row | {"target": "true", "u_modality": "text", "v_modality": "image"} | given
