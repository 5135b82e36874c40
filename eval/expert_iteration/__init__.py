"""Expert iteration: search training theorems, keep what is proved, learn, search again.

After Polu & Sutskever (2020, "Generative Language Modeling for Automated Theorem Proving", section 4.6) and
Polu et al. (2022, "Formal Mathematics Statement Curriculum Learning"). A round is: choose theorems
(``curriculum.py``), attempt them as an evaluation would, keep proofs and failures (``harvest.py``).
"""
