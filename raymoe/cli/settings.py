"""What ``raymoe settings`` prints: the fields of one section or of all."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from raymoe.config.describe import describe, markdown
from raymoe.runtime.progress import console


def print_settings(section: str | None, *, as_markdown: bool) -> None:
    """Print a section's fields, or those of all sections, as tables or as docs/settings.md.

    Raises:
        InputError: there is no such section.
    """
    found = describe(section)
    if as_markdown:
        print(markdown(found), end="")
        return
    for each in found:
        console.print(Text.assemble("\n", (each.name, "bold"), f"  {each.about}"))
        if each.settings:
            table = Table(box=None, pad_edge=False)  # folded: in a narrow terminal nothing is cut off
            table.add_column("field", no_wrap=True)
            table.add_column("type", max_width=20, overflow="fold")
            table.add_column("default", max_width=14, overflow="fold")
            table.add_column("meaning", overflow="fold")
            for setting in each.settings:
                words = (setting.name, setting.kind, setting.default, setting.description)
                table.add_row(*words)
            console.print(table)
