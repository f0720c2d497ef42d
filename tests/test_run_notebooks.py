"""What `tools/run_notebooks.py` makes of a notebook's outputs before they are kept."""

import base64
import io

import nbformat
import numpy as np
import run_notebooks
from PIL import Image


def tidied(kind, *arguments, **more):
    output = nbformat.v4.new_output(kind, *arguments, **more)
    run_notebooks.tidy(nbformat.v4.new_code_cell(outputs=[output]))
    return output


def test_an_error_keeps_what_it_says_and_no_paths():
    error = tidied("error", ename="KeyError", evalue="'a'", traceback=["/some/where/x.py", "more"])
    assert error.traceback == ["\x1b[31mKeyError\x1b[39m: 'a'"]


def test_pictures_become_smaller_and_stay_what_they_show():
    drawn = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 4, (64, 64, 3), dtype=np.uint8) * 60
    Image.fromarray(pixels).save(drawn, "png")
    png = base64.b64encode(drawn.getvalue()).decode()
    kept = tidied("display_data", {"image/png": png}).data["image/png"]
    assert len(kept) < len(png)
    assert (np.asarray(Image.open(io.BytesIO(base64.b64decode(kept))).convert("RGB")) == pixels).all()


def test_what_was_printed_in_pieces_is_one_text():
    pieces = [("stdout", "a"), ("stdout", "b\n"), ("stderr", "c"), ("stdout", "d")]
    cell = nbformat.v4.new_code_cell(outputs=[nbformat.v4.new_output("stream", name=n, text=t) for n, t in pieces])
    run_notebooks.tidy(cell)
    assert [(output.name, output.text) for output in cell.outputs] == [("stdout", "ab\n"), *pieces[2:]]


def test_texts_stay():
    assert tidied("display_data", {"text/plain": "1"}).data == {"text/plain": "1"}


def test_of_the_live_page_its_still_picture_is_kept():
    page = '<div class="lenet-page"><img src="x" alt="a boot"><iframe srcdoc="much"></iframe></div>'
    assert tidied("display_data", {"text/html": page}).data == {"text/html": '<img src="x" alt="a boot">'}


def test_a_run_stops_at_errors_begins_beside_the_notebook_and_is_tidied(tmp_path, monkeypatch):
    class Client:
        def __init__(self, notebook, resources=None, allow_errors=False, record_timing=True, **_):
            assert resources == {"metadata": {"path": str(tmp_path)}} and not allow_errors and not record_timing
            self.notebook = notebook

        def execute(self):
            pieces = [nbformat.v4.new_output("stream", name="stdout", text=text) for text in "ab"]
            self.notebook.cells[0].outputs = pieces

    monkeypatch.setattr(run_notebooks.nbclient, "NotebookClient", Client)
    path = tmp_path / "one.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print()")]), path)
    run_notebooks.run(path)
    assert [output.text for output in nbformat.read(path, 4).cells[0].outputs] == ["ab"]
