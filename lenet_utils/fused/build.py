"""`lenet.c` as a library: compiled on first use by the machine's own C compiler, kept in the user's cache folder."""

import contextlib
import ctypes
import functools
import hashlib
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile

from ..support.files import user_cache

SOURCE = pathlib.Path(__file__).with_name("lenet.c")
FLAGS = ["-O3", "-ffp-contract=fast", "-fPIC", "-shared", "-pthread", "-Wno-psabi"]
if platform.machine().lower() in ("x86_64", "amd64"):
    FLAGS += ["-march=native", "-mprefer-vector-width=512"]  # this CPU's instructions, and all of a register
else:
    FLAGS += ["-mcpu=native"]


class Declined(Exception):
    """The kernel cannot serve; the message completes the sentence "not fused, since ..."."""


@functools.cache
def load():
    """The library, through ctypes. Raises Declined."""
    compiler = find_compiler()
    try:
        try:
            library = ctypes.CDLL(cached(compiler))
        except OSError:  # nobody may write to the folder, or others may, or nothing there may be run: then for now only
            with tempfile.TemporaryDirectory(prefix="lenet-") as folder:
                library = ctypes.CDLL(compile_into(folder, compiler))
    except OSError as problem:
        raise Declined(f"the kernel cannot be built or loaded here ({problem})") from problem
    for name in ("lenet_bytes_per_thread", "lenet_gradient_offset", "lenet_lanes", "lenet_most_threads"):
        getattr(library, name).restype = ctypes.c_int64
    return library


def find_compiler():
    if os.name != "posix":
        raise Declined("the kernel is for Linux and macOS")
    found = filter(None, map(shutil.which, filter(None, (os.environ.get("CC"), "cc", "gcc", "clang"))))
    compiler = next(found, None)
    if compiler is None:
        raise Declined("there is no C compiler (cc, gcc or clang) on this machine's PATH")
    # Where Apple's tools are missing, what stands in for them would open a window that offers to install them.
    if sys.platform == "darwin" and compiler.startswith("/usr/bin/"):
        if subprocess.run(["xcode-select", "--print-path"], capture_output=True).returncode:
            raise Declined("Apple's command line tools are missing (`xcode-select --install` fetches them)")
    return compiler


def cached(compiler):
    """The path of the library in the cache folder; compiled first where it is not there. Raises OSError, Declined."""
    folder, key = user_cache() / "lenet_utils" / "kernels", content_key(compiler)
    make_private(folder)
    if not find(folder, key):
        with one_at_a_time(folder / f"{key}.lock"):
            if not find(folder, key):  # nobody else has built it meanwhile
                with tempfile.TemporaryDirectory(dir=folder, prefix="build-") as temporary:
                    built = compile_into(temporary, compiler)
                    os.replace(built, folder / f"{key}-{digest(built.read_bytes())}.so")
    return find(folder, key)


def make_private(folder):
    """Make `folder` where it is missing. Raises OSError where others may write to it: what lies there will be run."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    about = folder.stat()
    if about.st_uid not in (0, os.getuid()) or about.st_mode & 0o022:
        raise PermissionError(f"others may write to {folder}")


def find(folder, key):
    """A whole library of that key, or None: its own digest is in its name, so a damaged one is not loaded."""
    for path in sorted(folder.glob(f"{key}-*.so")):
        if path.stem == f"{key}-{digest(path.read_bytes())}":
            return path
    return None


def content_key(compiler):
    """What the library depends on: source, flags and, told by its predefined macros, the compiler and the CPU."""
    predefined = run(compiler, *FLAGS, "-dM", "-E", "-x", "c", os.devnull)
    return digest(SOURCE.read_bytes(), " ".join(FLAGS).encode(), predefined.encode())


def digest(*parts):
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


@contextlib.contextmanager
def one_at_a_time(path):
    """Of many processes that start at once, one compiles and the others wait: the system opens the lock if it dies."""
    import fcntl  # not on Windows

    with open(path, "w") as file:
        with contextlib.suppress(OSError):  # network folders without locks: then all of them compile, no harm done
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def compile_into(folder, compiler):
    path = pathlib.Path(folder) / "lenet.so"
    run(compiler, *FLAGS, "-o", str(path), str(SOURCE), "-lm")
    return path


def run(*command):
    """What the compiler prints. Raises Declined with the first line of its complaint."""
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", stdin=subprocess.DEVNULL)
    if done.returncode:
        complaint = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[0]
        raise Declined(f"the compiler {command[0]} fails ({complaint})")
    return done.stdout
