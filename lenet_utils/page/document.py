"""The page as one HTML document: styles, words, modules, weights and images. It asks for nothing outside itself."""

import base64
import functools
import hashlib
import html
import json
import pathlib
import re

WEB = pathlib.Path(__file__).parent / "web"
# Each module after those that it imports from; together they are one script.
MODULES = ("layers", "words", "dom", "draw", "edits", "explain", "network", "panel", "picture", "changes", "start")
IMPORT = re.compile(r"^import \{[^}]*\} from \"\./\w+\.js\";\n", re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) )", re.MULTILINE)


def read(name):
    return (WEB / name).read_text(encoding="utf-8")


@functools.cache
def words():
    """All labels of the page, by language and then by key."""
    return json.loads(read("words.json"))


@functools.cache
def script():
    """The modules one after the other, without the lines that connect them.

    An import map of data: addresses would do without this, but some notebooks' content policies forbid those.
    """
    return "\n".join(EXPORT.sub("", IMPORT.sub("", read(f"{name}.js"))) for name in MODULES)


def as_json(data):
    """JSON that may stand inside a <script>: no text in it can end the element or begin a comment."""
    return json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")


def policy(*inline):
    """A content security policy that runs these pieces of script and style, and nothing else from anywhere."""
    code, style = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in inline)
    return (
        f"default-src 'none'; script-src 'sha256-{code}'; style-src 'sha256-{style}'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def document(packed, title, still=""):
    """The complete page. `still`: HTML to show until, or unless, the script runs; a sentence then says why."""
    if still:
        still = f'<div id="still">{still}<p>{words()[packed["language"]]["picture.only"]}</p></div>'
    parts = {
        "notice": f"<!--\n{read('notice.txt')}-->\n" if still else "",  # a page in a file travels alone
        "language": packed["language"],
        "title": html.escape(title),
        "policy": policy(script(), read("page.css")),
        "style": read("page.css"),
        "still": still,
        "net": as_json(packed),
        "words": as_json(words()),
        "script": script(),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], read("page.html"))


# The frame's height from each width of the notebook's output on, in CSS pixels. A frame cannot grow with its content
# without a script around it: from 640 on this is what a LeNet needs, below it a window to scroll in, as on a phone.
HEIGHTS = {0: 800, 640: 2840, 700: 2590, 720: 2360, 1000: 2200, 1080: 1810, 1260: 1540, 1840: 1820}


def embedded(page, still):
    """The page in a frame of its own, for a notebook's output. Where frames or scripts do not run, `still` shows.

    The frame lies over the picture, see-through until its script has started. It can reach nothing around it.
    """
    steps = "".join(
        f"@container (min-width: {width}px) {{ .lenet-page > div {{ height: {height}px }} }}\n"
        for width, height in HEIGHTS.items()
    )
    return FRAME.format(steps=steps, still=still, page=html.escape(page))


FRAME = """<style>
.lenet-page {{ container-type: inline-size }}
.lenet-page > div {{ position: relative; overflow: hidden; resize: vertical }}
{steps}.lenet-page iframe {{ position: absolute; inset: 0; width: 100%; height: 100%; border: 0; color-scheme: light }}
[data-jp-theme-light="false"] .lenet-page iframe, .vscode-dark .lenet-page iframe,
html[theme="dark"] .lenet-page iframe {{ color-scheme: dark }}
</style>
<div class="lenet-page"><div>{still}
<iframe title="LeNet" sandbox="allow-scripts" srcdoc="{page}"></iframe></div></div>"""
