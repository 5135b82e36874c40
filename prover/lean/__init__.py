"""Lean as a program: installing it, starting it, talking to it."""
