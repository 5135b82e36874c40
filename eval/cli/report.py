"""``prover eval report``: what runs came to, as one HTML page or as text."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", default="report.html", show_default=True, type=click.Path(path_type=Path))
@click.option("--text", is_flag=True, help="Print the figures instead of writing the page.")
def report(runs: tuple[Path, ...], out: Path, text: bool) -> None:
    """Write what one or several RUNS came to: one HTML page that needs nothing else, or text."""
    from eval.runs import load_runs

    loaded = load_runs(runs)
    if text:
        from eval.report.text import console, print_report

        print_report(loaded, console())
    else:
        from eval.report.html import render
        from prover.theorem_file import write_atomically

        write_atomically(out, render(loaded).encode())
        click.echo(f"Written: {out}", err=True)
