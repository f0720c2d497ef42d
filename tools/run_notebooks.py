"""Run notebooks from top to bottom and keep their outputs: `uv run tools/run_notebooks.py notebooks/1_reshape.ipynb`.

Without names, all of them. Each is written back only when it has run to its end, so a cell that fails
unasked leaves the file as it was. What would differ from machine to machine for no reason is left out:
times of execution, versions, and the paths in tracebacks, of which only the last line stays. And pictures get a
palette: a notebook holds each of them twice, and GitHub shows no notebook that is too large.
"""

import base64
import io
import re

import nbclient
import nbformat
from cells import asked, write
from PIL import Image

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
LANGUAGE = {"file_extension": ".py", "name": "python", "nbconvert_exporter": "python"}  # for nbconvert --to script


def run(path):
    """Execute the notebook at `path` and write it back. Raises CellExecutionError where a cell fails unasked."""
    notebook = nbformat.read(path, as_version=4)
    place = {"metadata": {"path": str(path.parent)}}
    nbclient.NotebookClient(notebook, timeout=600, record_timing=False, resources=place).execute()
    notebook.metadata = {"kernelspec": KERNEL, "language_info": LANGUAGE}
    for cell in notebook.cells:
        tidy(cell)
    nbformat.validate(notebook)
    write(path, nbformat.writes(notebook) + "\n")


def tidy(cell):
    for key in ("execution", "collapsed", "trusted"):
        cell.metadata.pop(key, None)
    if "outputs" in cell:
        cell.outputs = joined(cell.outputs)
    for output in cell.get("outputs", []):
        output.get("metadata", {}).pop("needs_background", None)
        if output.output_type == "error":
            output.traceback = [f"\x1b[31m{output.ename}\x1b[39m: {output.evalue}"]
        if 'class="lenet-page"' in output.get("data", {}).get("text/html", ""):
            # The live page would make the file twice as large; its still picture stands in until the cell is run.
            output.data["text/html"] = re.search(r"<img [^>]*>", output.data["text/html"])[0]
        if "image/png" in output.get("data", {}):
            output.data["image/png"] = with_palette(output.data["image/png"])


def joined(outputs):
    """`outputs`, with texts that follow each other as one: a busy machine sends what was printed in pieces."""
    kept = []
    for output in outputs:
        if output.output_type == "stream" and kept and kept[-1].get("name") == output.name:
            kept[-1].text += output.text
        else:
            kept.append(output)
    return kept


def with_palette(encoded):
    """A PNG, in base64, with 256 colours, or as it was where that is smaller."""
    from lenet_utils.support import display  # not above: it loads PyTorch, which --help and a failing cell do not need

    packed = display.with_palette(Image.open(io.BytesIO(base64.b64decode(encoded))))
    return min(base64.b64encode(packed).decode(), encoded, key=len)


if __name__ == "__main__":
    for path in asked(__doc__):
        run(path)
        print(path)
