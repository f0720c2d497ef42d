"""`explore`, and the page that it returns."""

import base64
import functools
import os
import pathlib
import re

from ..support import display

LIMIT = 1_500_000  # bytes of the page: small enough for any web space, and for a notebook that keeps it


def explore(net, images, labels, *, names=None, title=None, language="en"):
    """An interactive page in the notebook's output in which `net` computes, on its own weights, for these `images`.

    `net`: a trained `nn.Sequential`, nested or not. `images`: float32 `(N, 1, 28, 28)`, 0 (black) to 1 (white), at most
    100. `labels`: int64 `(N,)`. `names`: of the classes, Fashion-MNIST's unless told otherwise. `title`: a headline.
    `language`: "en" or "zh", to begin with. The page is a copy: it does not change with `net`, nor `net` with it.
    `.save("lenet.html")` writes it as one file that needs no server and no network.
    Raises ValueError for layers that it does not know, for images or labels of another shape, or if the page became
    larger than 1.5 MB.
    """
    from .pack import pack

    packed = pack(net, images, labels, names, title, language)
    page = LivePage(net, images, packed)
    size = len(page.html.encode())
    if size > LIMIT:
        weights, per_image = sum(p.numel() for p in net.parameters()), len(packed["pictures"]["data"]) // len(images)
        raise ValueError(
            f"expected a net and images that make a page of at most {LIMIT:,} bytes, got {size:,}: each of the net's "
            f"{weights:,} weights takes 5 bytes, each of {len(images)} images {per_image:,}"
        )
    return page


class LivePage:
    """One page with its net and images inside: shows itself in a notebook, and saves itself as one HTML file."""

    def __init__(self, net, images, packed):
        from matplotlib import rcParams, style

        from .picture import draw_still

        self._packed = packed
        fonts = {f"font.{kind}": rcParams[f"font.{kind}"] for kind in ("family", "sans-serif", "serif")}
        with style.context(["default", fonts]):  # the page is white, whatever the notebook's other figures are
            figure, self.alt = draw_still(net, images[:1].detach(), packed)
            self._png = display.png_bytes(figure)

    @property
    def title(self):
        from .document import words

        return self._packed["title"] or words()[self._packed["language"]]["title"]

    @functools.cached_property
    def html(self):
        """The complete page: an HTML document in UTF-8 that asks for nothing outside itself."""
        from .document import document

        still = re.sub(r' style="[^"]*"', "", self._still())  # the page's policy allows no style but its own
        return document(self._packed, self.title, still)

    def save(self, path):
        """Write the page to `path`, whole or not at all, and return the path."""
        path = pathlib.Path(path).expanduser()
        if not path.parent.is_dir():
            raise FileNotFoundError(f"expected a folder {path.parent} to save {path.name} in, got none")
        unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
        unfinished.unlink(missing_ok=True)  # of one that was killed; or a link, which is not followed
        try:
            unfinished.write_text(self.html, encoding="utf-8", newline="\n")
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)
        return path

    def _still(self):
        return display.as_html(self._png, self.alt)

    def _repr_html_(self):
        from .document import document, embedded

        # The picture stands under the frame already, so the page in it goes without.
        return embedded(document(self._packed, self.title), self._still())

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {
            "text/html": self._repr_html_(),
            "image/png": base64.b64encode(self._png).decode(),
            "text/plain": self.alt,
        }

    def __repr__(self):
        return f"<LivePage {self.title!r}: save('lenet.html') writes it as a file>"
