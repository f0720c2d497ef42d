"""What a learner does and sees on a page of JupyterLab, which has to be started with its app in the browser's reach."""

MINUTES = 60_000  # Playwright counts milliseconds

CELLS = "jupyterapp.shell.currentWidget.content.model.cells"
DONE = f"() => Array.from({CELLS}).every(cell => cell.type != 'code' || cell.executionCount !== null)"
OUTPUTS = f"() => Array.from({CELLS}).map(cell => cell.toJSON().outputs || [])"


def menu(page, name, entry):
    page.click(f".lm-MenuBar-itemLabel:text-is('{name}')")
    page.click(f".lm-Menu-itemLabel:text-is('{entry}')")


def run_all(page, wait=True):
    menu(page, "Edit", "Clear Outputs of All Cells")
    menu(page, "Run", "Run All Cells")
    if wait:
        page.wait_for_function(DONE, timeout=10 * MINUTES)


def text_of(outputs):
    return "".join("".join(output.get("text", "")) for output in outputs)
