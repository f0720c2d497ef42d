"""Figures in a notebook: with a description for those who cannot see them, and replaced in place while they change.

JupyterLab shows no alt text for a plain PNG output. So a figure goes out as a bundle: HTML with the alt text
for notebooks, the PNG for where HTML is not shown (GitHub, PDF), the description alone for text.
"""

import base64
import html
import io
import os
import struct
import sys

DPI = 144  # of the pictures; pages show 96 a CSS inch, so they stay sharp on a fine screen

NOTEBOOKS_BACKEND = "module://matplotlib_inline.backend_inline"
FILE_BACKENDS = ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template")  # matplotlib's that show nothing


def kernel_shell():
    """IPython's shell where a notebook shows what it displays, None in a script or a terminal."""
    if "IPython" not in sys.modules:
        return None
    shell = sys.modules["IPython"].get_ipython()
    return shell if hasattr(shell, "kernel") else None


def set_alt(figure, text):
    """Describe `figure` for those who cannot see it."""
    figure.alt_text = text


def alt_text(figure):
    """The description of `figure`: the one it was given, else one made of its titles, labels and legends."""
    return getattr(figure, "alt_text", None) or alt_text_of_words(figure)


def alt_text_of_words(figure):
    """A description made of the titles, labels and legends of `figure`."""
    parts = [figure.get_suptitle()] if figure.get_suptitle() else []
    for axes in figure.axes:
        labels = " against ".join(filter(None, (axes.get_ylabel(), axes.get_xlabel())))
        legend = axes.get_legend()
        series = ", ".join(text.get_text() for text in legend.get_texts()) if legend else ""
        parts += filter(None, (axes.get_title().replace("\n", " "), labels, series))
    return "Figure: " + "; ".join(parts) if parts else "Figure without a title"


def png_bytes(figure):
    """`figure` as a PNG."""
    from PIL import Image

    drawn = io.BytesIO()
    save(figure, drawn, "png")
    return drawn.getvalue() if shows_photographs(figure) else with_palette(Image.open(drawn))


def save(figure, file, kind):
    """Write `figure` to `file`, on white where it has no colour behind it: a page may be dark."""
    see_through = figure.get_facecolor()[3] < 1
    figure.savefig(file, format=kind, dpi=DPI, bbox_inches="tight", facecolor="white" if see_through else "auto")


def shows_photographs(figure):
    """Whether there are images in it whose pixels have colours of their own: 256 are too few for them."""
    return any(image.get_array().ndim == 3 for axes in figure.axes for image in axes.images)


def with_palette(picture):
    """Pillow's `picture` as a PNG with a palette of 256 colours: a third of the size, and notebooks keep them all."""
    from PIL import Image

    small = io.BytesIO()
    picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return small.getvalue()


def as_html(png, alt):
    """An <img> with its size written down, so that the page keeps the room while the next picture comes."""
    width, height = struct.unpack(">II", png[16:24])  # in every PNG's first chunk
    return image_tag("png", png, alt, f'width="{width * 96 // DPI}" height="{height * 96 // DPI}" ')


def image_tag(kind, picture, alt, size=""):
    source = f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
    return f'<img src="{source}" alt="{html.escape(alt)}" {size}style="max-width: 100%; height: auto">'


def figure_html(figure):
    if not svg_is_chosen(type(figure)):
        return as_html(png_bytes(figure), alt_text(figure))
    drawn = io.BytesIO()
    save(figure, drawn, "svg")
    return image_tag("svg+xml", drawn.getvalue(), alt_text(figure))


def svg_is_chosen(kind):
    """Whether the notebook has been told to show figures, of that class, as SVG."""
    try:
        return kernel_shell().display_formatter.formatters["image/svg+xml"].lookup_by_type(kind) is not None
    except KeyError:
        return False


def bundle(figure):
    png, alt = png_bytes(figure), alt_text(figure)
    return {"text/html": as_html(png, alt), "image/png": base64.b64encode(png).decode(), "text/plain": alt}


class LivePicture:
    """One output of the running cell: `show` replaces its picture in place, `finish` makes it the one to keep."""

    def __init__(self):
        self._handle, self._last = None, None  # IPython's, and the newest picture's bundle

    def show(self, figure):
        before, self._last = self._last, bundle(figure)
        self._send(over(self._last, before) if before else self._last)

    def finish(self):
        self._send(self._last)

    def _send(self, data):
        from IPython.display import display

        if self._handle is None:
            self._handle = display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)


def over(new, before):
    """The bundle `new`, with the picture of `before` behind its own: Firefox takes a moment to read a new one."""
    behind = f'style="background: url(data:image/png;base64,{before["image/png"]}) 0 0 / 100% 100%; '
    return new | {"text/html": new["text/html"].replace('style="', behind, 1)}


def show_figures():
    """From now on this notebook shows every matplotlib figure, with its alt text."""
    shell = kernel_shell()
    if shell is None:
        return
    if is_for_files(os.environ.get("MPLBACKEND", "")):  # set for scripts, as computing centres do
        import matplotlib

        if is_for_files(matplotlib.get_backend()):
            matplotlib.use(NOTEBOOKS_BACKEND)
    formatter = shell.display_formatter.formatters["text/html"]
    # For the base class: what is registered for Figure itself goes when pyplot is imported.
    formatter.for_type_by_name("matplotlib.figure", "FigureBase", figure_html)


def is_for_files(backend):
    return backend.lower() in FILE_BACKENDS
