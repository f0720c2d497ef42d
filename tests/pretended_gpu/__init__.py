"""Pretends to PyTorch that this machine has a GPU, so that what is written for one runs where there is none.

`build` compiles gpu.cpp. In another process, in the environment that `environment` makes, `install` gives PyTorch that
GPU: as a plugin of pytest (`-p pretended_gpu`), or in the kernel of a notebook.
"""

import contextlib
import ctypes
import os
import pathlib
import shutil
import subprocess
import types

HERE = pathlib.Path(__file__).parent
OURS = {"empty.memory_format", "empty_strided", "resize_"}  # which make memory
SHARED = {"as_strided", "view", "view_as_real", "view_as_complex", "unfold", "record_stream"}  # other looks at the same
MORE = {"copy_", "convolution", "convolution_backward"}  # to be taken whole, not in the parts that a GPU knows


def build(folder):
    """Compiles the GPU into `folder`; returns the path of the library. Raises FileNotFoundError without a compiler."""
    import torch

    torch_folder = pathlib.Path(torch.__file__).parent
    include = torch_folder / "include"
    compiler = shutil.which("g++")
    if compiler is None:
        raise FileNotFoundError("g++ is not installed")
    library = pathlib.Path(folder) / "pretended_gpu.so"
    command = [compiler, "-std=c++20", "-O1", "-shared", "-fPIC", "-o", library, HERE / "gpu.cpp"]
    command += [f"-I{include}", f"-I{include / 'torch/csrc/api/include'}", f"-L{torch_folder / 'lib'}"]
    subprocess.run([*command, "-ltorch_cpu", "-lc10"], check=True, stderr=subprocess.PIPE, text=True)
    return library


def environment(library, folder):
    """The environment of a process with that GPU; `folder` is for what IPython wants to know."""
    startup = pathlib.Path(folder) / "profile_default" / "startup"
    startup.mkdir(parents=True, exist_ok=True)
    (startup / "gpu.py").write_text("__import__('pretended_gpu').install()\n")
    path = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PRETENDED_GPU": str(library), "IPYTHONDIR": str(folder), "PYTHONPATH": path}


def pytest_configure(config):
    install()


def install():
    import torch

    gpu = ctypes.CDLL(os.environ["PRETENDED_GPU"])
    gpu.end_recording.restype = ctypes.c_void_p
    gpu.waits_so_far.restype = ctypes.c_longlong
    known = torch._C._dispatch_get_registrations_for_dispatch_key("CUDA")
    names = {name.removeprefix("aten::") for name in known if name.startswith("aten::")} - OURS - SHARED
    names = sorted(name for name in names if "nested" not in name and not name.startswith("set_")) + sorted(MORE)
    gpu.install((ctypes.c_char_p * len(names))(*[name.encode() for name in names]), len(names))
    for name, value in in_place_of_torch_cuda(gpu).items():
        assert hasattr(torch.cuda, name), name
        setattr(torch.cuda, name, value)
    torch.cuda.pretended = gpu
    torch.serialization.register_package(0, lambda storage: None, load_to_the_gpu)


def load_to_the_gpu(storage, location):
    """What `torch.load` makes of the CPU's `storage` for the place `location`; None where that is no GPU."""
    import torch

    if str(location).startswith("cuda"):
        return torch.empty(0, dtype=torch.uint8).set_(storage).to(location).untyped_storage()


def in_place_of_torch_cuda(gpu):
    """What stands in for the functions and classes of `torch.cuda`, by name."""
    import torch

    modes, mode = ("default", "warn", "error"), 0

    def set_sync_debug_mode(new):
        nonlocal mode
        mode = modes.index(new) if new in modes else new
        gpu.set_sync_debug_mode(mode)

    def get_rng_state(device="cuda"):
        state = torch.empty(gpu.random_state_size(), dtype=torch.uint8, device="cpu")  # whatever the default
        gpu.get_random_state(ctypes.c_void_p(state.data_ptr()))
        return state

    def set_rng_state(state, device="cuda"):
        gpu.set_random_state(ctypes.c_void_p(state.data_ptr()))

    def manual_seed(seed):
        set_rng_state(torch.Generator().manual_seed(int(seed)).get_state())

    class CUDAGraph:
        def __init__(self):
            self.recorded = None

        def replay(self):
            gpu.replay(self.recorded)

        def __del__(self):
            gpu.forget(self.recorded)

    @contextlib.contextmanager
    def graph(cuda_graph, pool=None, stream=None):
        gpu.begin_recording()
        try:
            yield
        finally:
            cuda_graph.recorded = ctypes.c_void_p(gpu.end_recording())

    class Stream:
        def __init__(self, device=None, priority=0): ...

        def wait_stream(self, other): ...

    def always(value):
        return lambda *arguments, **options: value

    about = types.SimpleNamespace(name="a pretended GPU", major=9, minor=0, total_memory=2**37, multi_processor_count=1)
    return {
        **{"is_available": always(True), "is_initialized": always(True), "_lazy_init": always(None)},
        **{"device_count": always(1), "current_device": always(0), "set_device": always(None)},
        **{"_exchange_device": always(0), "_maybe_exchange_device": always(0)},
        **{"get_device_name": always(about.name), "get_device_capability": always((about.major, about.minor))},
        **{"get_device_properties": always(about), "synchronize": always(None), "empty_cache": always(None)},
        **{"memory_allocated": always(0), "max_memory_allocated": always(0), "reset_peak_memory_stats": always(None)},
        **{"set_sync_debug_mode": set_sync_debug_mode, "get_sync_debug_mode": lambda: mode},
        **{"get_rng_state": get_rng_state, "set_rng_state": set_rng_state},
        **{"manual_seed": manual_seed, "manual_seed_all": manual_seed},
        **{"Stream": Stream, "current_stream": always(Stream()), "stream": always(contextlib.nullcontext())},
        **{"CUDAGraph": CUDAGraph, "graph": graph, "graph_pool_handle": always((0, 0))},
        "is_current_stream_capturing": always(False),
    }
