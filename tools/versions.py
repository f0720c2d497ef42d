"""The tests on the oldest and newest Python, each with the oldest and newest packages that pyproject.toml allows.

`uv run tools/versions.py` makes four environments one after the other in a temporary folder and runs pytest in each;
what comes behind its name goes to pytest. Ends with 1 if any run was red. Where a Python is missing, uv fetches it.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

COURSE = pathlib.Path(__file__).parent.parent
PYTHONS = ("3.10", "3.13")
# Ready-made packages only: for a new Python, the oldest version of PyTorch is the first that was built for it.
RESOLUTIONS = {
    "oldest": ("--resolution=lowest-direct", "--only-binary=:all:", "--no-binary=lenet-utils"),
    "newest": ("--resolution=highest",),
}
SHOWN = ("torch", "torchvision", "numpy", "matplotlib", "ipython", "ipykernel", "jupyterlab", "nbval", "pytest")


def uv(*arguments):
    return subprocess.run(["uv", *map(str, arguments)], cwd=COURSE, check=True, capture_output=True, text=True).stdout


def make(folder, version, resolution):
    """An environment in `folder`; returns its Python."""
    uv("venv", "--python", version, folder)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    uv("pip", "install", "--python", python, *RESOLUTIONS[resolution], "--editable", ".", "--group", "dev")
    return python


def main():
    description, usage = __doc__.partition("\n")[0], "versions.py [-h] [what goes to pytest ...]"
    parser = argparse.ArgumentParser(description=description, usage=usage, allow_abbrev=False)
    _, for_pytest = parser.parse_known_args()
    red = []
    for version in PYTHONS:
        for resolution in RESOLUTIONS:
            name = f"Python {version}, {resolution} packages"
            with tempfile.TemporaryDirectory(prefix="versions-") as folder:
                try:
                    python = make(pathlib.Path(folder, "venv"), version, resolution)
                except subprocess.CalledProcessError as problem:
                    print(f"\n{name}: the environment could not be made\n{problem.stderr}", flush=True)
                    red += [name]
                    continue  # the others are worth their results
                frozen = [line.split("==") for line in uv("pip", "freeze", "--python", python).splitlines()]
                versions = ", ".join(" ".join(line) for line in frozen if line[0] in SHOWN)
                print(f"\n{name}: {versions}", flush=True)
                done = subprocess.run([python, "-m", "pytest", "-p", "no:cacheprovider", *for_pytest], cwd=COURSE)
            red += [name] if done.returncode else []
    sys.exit(f"\nred: {'; '.join(red)}" if red else 0)


if __name__ == "__main__":
    main()
