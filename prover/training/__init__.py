"""Training: proofs that the agent has found, kept in a store, made into examples for a decoder."""
