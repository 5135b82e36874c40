"""Search over proof states: the tree, and best-first search through it."""
