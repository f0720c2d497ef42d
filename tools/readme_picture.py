"""Make the picture on top of the README, a browser's view of the live page: `uv run tools/readme_picture.py`.

It shows the network that travels with the course and the first test images. Needs Chromium or Chrome on the PATH.
"""

import argparse
import io
import pathlib
import shutil
import sys
import tempfile

from PIL import Image
from playwright.sync_api import sync_playwright

import lenet_utils as d2l
from lenet_utils.support.display import with_palette

PICTURE = pathlib.Path(__file__).parent.parent / "pictures" / "live_page.png"
IMAGES = 24
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main():
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        sys.exit(f"expected a browser on the PATH, {' or '.join(BROWSERS)}, got none: install Chromium or Chrome")
    X, y = next(iter(d2l.load_data_fashion_mnist(IMAGES)[1]))
    PICTURE.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page_file = d2l.explore(d2l.trained_lenet(), X, y).save(pathlib.Path(folder, "lenet.html"))
        browser = playwright.chromium.launch(executable_path=program, chromium_sandbox=False)
        page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
        page.goto(page_file.as_uri())
        page.wait_for_timeout(1000)
        drawn = page.screenshot(full_page=True)
        browser.close()
    PICTURE.write_bytes(with_palette(Image.open(io.BytesIO(drawn))))


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()  # --help, and nothing else
    main()
