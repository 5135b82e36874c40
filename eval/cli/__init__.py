"""The command line: ``prover eval``."""
