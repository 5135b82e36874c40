"""The language model as a tactic generator: prompts, completions with exact log-probabilities, candidates.

query -> prompts (goal, history, context, whole) -> backend (in process, or a server) -> candidates
"""
