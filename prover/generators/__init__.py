"""Tactic generators: from a proof state and its history to tactics with log-probabilities."""
