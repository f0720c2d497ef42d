"""`train_ch6` outside notebooks: piped to a file, in a terminal, over ssh without a display, and in IPython."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

with contextlib.suppress(ImportError):
    import pty  # not on Windows

COURSE = pathlib.Path(__file__).parent.parent
posix = pytest.mark.skipif(os.name != "posix", reason="Windows has neither such terminals nor such signals")
SCRIPT = """
import torch
import lenet_utils as d2l

batches = [(torch.rand(64, 1, 28, 28), torch.randint(10, (64,)))] * 10
history = d2l.train_ch6(d2l.lenet(), batches, batches, {epochs}, 0.9, "cpu")
axes = history.plot("curve.png")
"""
LINE = re.compile(r"epoch \d+\.\d\d, train loss \d+\.\d{3}, train acc \d\.\d{3}(, test acc \d\.\d{3})?")
PNG = b"\x89PNG\r\n\x1a\n"


def environment(**more):
    """Without a display, as over ssh, and without a backend that somebody chose."""
    unset = {"DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND", "TERM"}
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    return kept | {"PYTHONPATH": str(COURSE), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"} | more


def start(tmp_path, epochs=3, **options):
    (tmp_path / "script.py").write_text(SCRIPT.format(epochs=epochs))
    return subprocess.Popen([sys.executable, "script.py"], cwd=tmp_path, **options)


def check(printed, folder):
    """Whole lines of plain text, the last point among them, then d2l's two lines; and the curve that was asked for."""
    first, *progress, result, speed = printed.splitlines()
    assert first == "training on cpu"
    assert progress and all(LINE.fullmatch(line) for line in progress), progress
    assert result.startswith("loss ") and speed.endswith(" examples/sec on cpu")
    assert (folder / "curve.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize("display", [{}, {"DISPLAY": ":987"}], ids=["none", "dead"])
def test_piped_to_a_file_without_a_display(tmp_path, display):
    with open(tmp_path / "log", "w") as log:
        running = start(tmp_path, stdout=log, stderr=subprocess.PIPE, env=environment(**display), text=True)
        _, warnings = running.communicate(timeout=120)
    assert (running.returncode, warnings) == (0, "")
    check((tmp_path / "log").read_text(), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"script.py", "log", "curve.png"}


WORKERS = """
import time
import torch
import lenet_utils as d2l
from torch.utils.data import DataLoader, Dataset


class Slow(Dataset):
    def __len__(self):
        return 4000

    def __getitem__(self, i):
        time.sleep(0.01)
        return torch.rand(1, 28, 28), i % 10


if __name__ == "__main__":
    loader = DataLoader(Slow(), 20, num_workers=1, multiprocessing_context="spawn")
    test_iter = [(torch.rand(4, 1, 28, 28), torch.zeros(4, dtype=torch.int64))]
    history = d2l.train_ch6(d2l.lenet(), loader, test_iter, 3, 0.1, "cpu", checkpoint="run")
    print(f"a history of {len(history)} epochs")
"""


@posix
def test_a_stop_that_the_workers_of_a_dataloader_hear_as_well(tmp_path):
    """Ctrl-C goes to all processes of a terminal; those that were spawned, as on macOS and Windows, end at once."""
    (tmp_path / "script.py").write_text(WORKERS)
    running = subprocess.Popen(
        [sys.executable, "-u", "script.py"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment(), text=True, start_new_session=True,
    )  # fmt: skip
    while not LINE.match(running.stdout.readline()):  # the first point of the curve: 40 batches have come
        assert running.poll() is None
    os.killpg(running.pid, signal.SIGINT)
    printed, warnings = running.communicate(timeout=60)
    assert running.returncode == 0, warnings
    assert "stopped in epoch 1 of 3; the network keeps what it has learned" in printed
    assert printed.endswith("a history of 0 epochs\n")
    assert (tmp_path / "run" / "before.safetensors").exists()  # the beginning; what was learned until Stop is the last


def in_terminal(running, terminal):
    printed = b""
    while True:
        try:
            part = os.read(terminal, 10_000)
        except OSError:  # how Linux says that the program is gone
            part = b""
        if not part:
            assert running.wait(120) == 0, printed
            return printed.decode().replace("\r\n", "\n")
        printed += part


@posix
def test_in_a_terminal(tmp_path):
    terminal, program_side = pty.openpty()
    running = start(tmp_path, stdout=program_side, stderr=program_side, env=environment(TERM="xterm-256color"))
    os.close(program_side)
    check(in_terminal(running, terminal), tmp_path)  # no colours, nothing that moves the cursor
    os.close(terminal)


def test_lines_come_while_it_trains(tmp_path):
    """Somebody who watches the file sees the run go on: not all lines at its end, and not a flood."""
    running = start(tmp_path, epochs=100_000, stdout=subprocess.PIPE, env=environment(), text=True)
    times = []
    try:
        for line in running.stdout:
            if LINE.fullmatch(line.strip()):
                times.append(time.monotonic())
                if len(times) == 4:
                    break
    finally:
        running.kill()
        running.communicate()
    assert times[-1] - times[0] >= 2.5  # three pauses of a second, however fast or slow the machine


@posix
def test_ctrl_c_in_a_terminal(tmp_path):
    """The run ends between two batches, and the script goes on with the history."""
    terminal, program_side = pty.openpty()
    running = start(
        tmp_path,
        epochs=2_000,  # minutes, where nobody hears the Stop
        stdin=program_side,
        stdout=program_side,
        stderr=program_side,
        env=environment(),
        start_new_session=True,
        preexec_fn=lambda: take_terminal(program_side),
    )
    os.close(program_side)
    seen = b""
    while b"epoch" not in seen:
        seen += os.read(terminal, 10_000)
    os.write(terminal, b"\x03")
    printed = (seen + in_terminal(running, terminal).encode()).decode().replace("^C", "")
    os.close(terminal)
    assert "stopped in epoch " in printed and "Traceback" not in printed
    assert (tmp_path / "curve.png").read_bytes().startswith(PNG)


def take_terminal(number):
    import fcntl
    import termios

    fcntl.ioctl(number, termios.TIOCSCTTY, 0)


@posix
def test_in_ipython_in_a_terminal(tmp_path):
    pexpect = pytest.importorskip("pexpect")
    shell = pexpect.spawn(
        sys.executable,
        [
            "-m",
            "IPython",
            "--simple-prompt",
            "--no-banner",
            "--no-confirm-exit",
            f"--profile-dir={tmp_path / 'profile'}",
        ],
        cwd=str(tmp_path),
        env=environment(TERM="dumb"),
        encoding="utf-8",
        timeout=120,
    )
    (tmp_path / "script.py").write_text(SCRIPT.format(epochs=3))
    shell.expect(r"In \[1\]: ")
    shell.sendline("%run -i script.py")
    shell.expect(r"In \[2\]: ")
    printed = shell.before.replace("\r\n", "\n")
    shell.sendline("history, axes[0].figure.number")
    shell.expect(r"In \[3\]: ")
    then = shell.before
    shell.sendline("exit")
    shell.expect(pexpect.EOF)
    shell.close()
    check(printed[printed.index("training on") :].strip(), tmp_path)
    assert "History of 3 epochs on cpu" in then
