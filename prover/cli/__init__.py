"""The command line: `prove` and `prover`."""
