"""What trials show, as pictures and tables: for notebooks, and for the page of ``harness report``.

Each function takes what was read, and returns an exhibit, which a notebook shows as it is. Nothing here computes a
number: that is done by ``harness.experiment`` and ``harness.stats``.
"""
