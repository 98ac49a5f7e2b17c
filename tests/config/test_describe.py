"""Every setting explains itself, and docs/settings.md says the same."""

from pathlib import Path

import pytest

from raymoe.config import Preset
from raymoe.config.describe import describe, markdown
from raymoe.errors import InputError

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
RENEW = "raymoe settings --markdown > docs/settings.md"


def test_the_page_of_settings_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == markdown(describe()), f"renew it with: {RENEW}"
    assert RENEW in PAGE.read_text(encoding="utf-8")


def test_every_section_and_every_field_is_explained():
    found = {section.name: section for section in describe()}
    assert set(Preset.model_fields) - {"name"} <= set(found)
    for section in found.values():
        assert section.about.endswith(".")
        for setting in section.settings:
            assert setting.description, f"{section.name}.{setting.name}: a string below the field is missing"


def test_types_ranges_choices_and_defaults_are_in_words():
    def row(section, name):
        (described,) = describe(section)
        (setting,) = [s for s in described.settings if s.name == name]
        return setting.kind, setting.default

    assert row("probe", "rho") == ("number, above 0, at most 1", "0.3")
    assert row("probe", "experts") == ("list of strings", '["synergy", "redundancy"]')
    assert row("train", "patience") == ("integer, at least 1", "not set")
    assert row("report", "samples") == ("integer, at least 1 or all", "24")
    assert row("data", "format") == ("table, mmimdb, enrico, mmhs150k, planted", '"table"')
    assert row("data", "modalities") == ("list of tables, see modality", "required")
    assert row("data.mmimdb", "split") == ("contiguous, archive", '"contiguous"')
    assert row("data.table", "split_rule") == ("table of numbers", "not set")
    assert row("encoder", "drop_cls") == ("true or false", "false")
    assert row("sweep", "grid") == ("table of lists", "{}")


def test_an_unknown_section_lists_the_known():
    with pytest.raises(InputError, match="no section 'probing'") as caught:
        describe("probing")
    assert "data.table" in caught.value.remedy
    assert "probe" in caught.value.remedy
