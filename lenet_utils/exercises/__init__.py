"""The exercises of the notebooks, which answer back: `check("1.2", my_answer)` says whether `my_answer` is right.

Each notebook has a module here, with a function for each of its exercises; `engine` and `ask` are what they share.
"""

from .engine import check

__all__ = ["check"]
