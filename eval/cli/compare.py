"""``prover eval compare``: two runs, theorem by theorem."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def compare(before: Path, after: Path, as_json: bool) -> None:
    """Say which theorems the run AFTER gained over the run BEFORE, and which it lost."""
    from eval.compare import compare as compare_runs
    from eval.runs import load_runs

    found = compare_runs(*load_runs([before, after]))
    if as_json:
        import json

        click.echo(json.dumps(found.to_json(), ensure_ascii=False, indent=2))
    else:
        from eval.report.text import console, print_comparison

        print_comparison(found, console())
