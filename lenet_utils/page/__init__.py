"""The live page: the learner's own network, computing in plain JavaScript inside the notebook or in one saved file.

`live` has what a notebook calls, `read_net` turns a net into a plain description, `pack` checks and packs it with the
images, `document` puts the page together from the files in `web/`, `picture` draws what stands in without scripts.
"""

from .live import LivePage, explore

__all__ = ["LivePage", "explore"]
