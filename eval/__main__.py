"""``python -m eval``: the same as ``prover eval``."""

from eval.cli.main import main

main(prog_name="python -m eval")
