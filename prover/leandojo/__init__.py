"""Theorems of repositories that LeanDojo has traced, through the package itself (extra ``[dojo]``)."""
