"""Reports of runs: one self-contained HTML page, or the same figures as plain text."""
