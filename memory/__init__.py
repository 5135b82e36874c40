"""The external memory: what a decoder has read, kept as keys and values, and looked up by its attention.

Knows nothing of provers and of Lean: it holds passages of tokens. Nothing heavy is imported here.
"""
