"""Inputs that were left out, as a person sees them."""

from rich.table import Table

from vgsr.cli.app import console


def print_problems(problems: list[tuple[str, str]], shown: int = 20) -> None:
    """A table of (name, reason), the first `shown` of them."""
    if not problems:
        return
    table = Table("left out", "reason", title=f"{len(problems):,} inputs left out")
    for name, reason in problems[:shown]:
        table.add_row(name, reason)
    if len(problems) > shown:
        table.add_row(f"… and {len(problems) - shown:,} more", "all of them are in problems.parquet or the bank")
    console.print(table)
