"""The kernels of a recorded step: float64's gradients in Triton's interpreter, and machine code that fits an H100."""

import copy
import importlib.metadata
import json
import types

import pytest
import torch
from torch import nn

from lenet_utils import lenet, recorded, train
from lenet_utils.data import Batches
from lenet_utils.fused.build import Declined

pytest.importorskip("triton", reason="there is no Triton on this machine")


def version(package):
    return tuple(int(number) for number in importlib.metadata.version(package).split(".")[:2])


compiles = pytest.mark.skipif(version("triton") < (3, 3), reason="there is no Triton of version 3.3 or later here")
interprets = pytest.mark.skipif(
    version("triton") < (3, 3) or (version("triton") < (3, 7) and version("numpy") >= (2, 4)),
    reason="there is no Triton of version 3.3 or later here, or its interpreter is for NumPy before 2.4",
)

# What every fresh process begins with: the networks, 90 images of noise, and a step on rows of them.
PREPARE = """
import copy, json, types
import torch
from torch import nn
from lenet_utils import lenet, recorded, train
from lenet_utils.data import Batches
from lenet_utils.recorded.kernels import KernelSteps

torch.set_num_threads(1)

def networks():
    torch.manual_seed(1)
    net = lenet().apply(train.init_xavier)
    yield net
    yield nn.Sequential(*[layer for layer in copy.deepcopy(net) if layer is not net[-2]][:-2], copy.deepcopy(net[-1]))

def noise(count, batch_size):
    images = torch.randint(0, 256, (count, 28, 28), dtype=torch.uint8)
    return Batches(images, torch.randint(0, 10, (count,)), batch_size, shuffle=True)
"""


@pytest.fixture
def interpreter(python):
    """A function that runs code after `PREPARE` in a fresh process, its kernels on the CPU, and reads its JSON."""
    return lambda code: json.loads(python(PREPARE + code, TRITON_INTERPRET="1"))


@interprets
def test_a_step_follows_float64s_gradients_and_adds_up(interpreter):
    found = interpreter("""
LR = 1000.0  # so large that the weights' last bits do not hide the gradient

def step(net, size):
    batches = noise(90, 40)
    steps, before = KernelSteps(net, LR, batches), [p.detach().clone() for p in net.parameters()]
    truth = copy.deepcopy(net).double()
    steps.begin(batches.order())
    steps.first.fill_(7)
    steps.take(size)
    X, y = batches.pick(steps.order[7 : 7 + size])
    y_hat = truth(X.double())
    loss = nn.functional.cross_entropy(y_hat, y)
    loss.backward()
    implied = [(old - new.detach()).double() / LR for old, new in zip(before, net.parameters())]
    errors = [float((g - p.grad).norm() / p.grad.norm()) for g, p in zip(implied, truth.parameters())]
    sums = [loss.item() * size, int((y_hat.argmax(1) == y).sum()), size, 1]
    return size, errors, steps.sums.tolist(), sums, int(steps.first)

note_net = list(networks())[1]
print(json.dumps([step(next(networks()), size) for size in (1, 5, 17, 33)] + [step(note_net, 5)]))
""")
    assert [size for size, *_ in found] == [1, 5, 17, 33, 5]
    for size, errors, sums, expected, first in found:
        assert max(errors) < 1e-5, (size, errors)
        assert sums == pytest.approx(expected, rel=1e-6) and first == 7 + size


@interprets
def test_a_pass_with_an_uneven_last_batch_is_that_of_pytorch(interpreter):
    kernels, operations = interpreter("""
def a_pass(net, make_steps):
    torch.manual_seed(2)
    batches, made = noise(39, 17), []  # 17, 17 and 5 images
    def remember(*arguments):
        made.append(make_steps(*arguments))
        return made[0]
    run_epoch, _ = recorded.record(net, 0.9, torch.device("cpu"), remember)
    history, stop = train.History("cpu"), types.SimpleNamespace(check=lambda: None)
    trained = run_epoch(net, batches, None, torch.device("cpu"), history, None, stop)[:3]
    weights = torch.cat([p.detach().flatten() for p in net.parameters()])
    return history.points, trained, made[0].sums.tolist(), int(made[0].first), weights.tolist()

print(json.dumps([a_pass(next(networks()), make_steps) for make_steps in (KernelSteps, recorded.Steps)]))
""")
    for ours, theirs in zip(kernels[0], operations[0], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    for ours, theirs in zip(kernels[1:3], operations[1:3]):
        assert ours == pytest.approx(theirs, rel=1e-5)
    assert kernels[2][2:] == [39, 3] and kernels[3] == operations[3] == 39
    torch.testing.assert_close(torch.tensor(kernels[4]), torch.tensor(operations[4]), rtol=1e-5, atol=1e-5)


@compiles
def test_every_kernel_becomes_machine_code_that_spills_nothing(python, tmp_path):
    code = """
import os, pathlib, re, subprocess
import triton
from triton.backends.compiler import GPUTarget
from triton.backends import nvidia
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

launches = []
JITFunction.run = lambda self, *arguments, **options: launches.append((self, arguments, options))
TYPES = {torch.float32: "*fp32", torch.float64: "*fp64", torch.int64: "*i64", torch.uint8: "*u8"}
TYPES |= {int: "i32", float: "fp32"}

def compiled(kernel, arguments, options):
    signature, constants, attributes = {}, {}, {}
    for i, (parameter, value) in enumerate(zip(kernel.params, arguments, strict=True)):
        if parameter.is_constexpr:
            signature[parameter.name], constants[i,] = "constexpr", value
        else:
            signature[parameter.name] = TYPES[getattr(value, "dtype", type(value))]
            if torch.is_tensor(value):
                attributes[i,] = [["tt.divisibility", 16]]
    names = {"num_warps", "num_stages", "enable_fp_fusion", "maxnreg"} & options.keys()
    options = {name: options[name] for name in names}
    return triton.compile(ASTSource(kernel, signature, constants, attributes), GPUTarget("cuda", 90, 32), options)

def usage(binary):
    pathlib.Path("kernel.cubin").write_bytes(binary.asm["cubin"])
    tool = pathlib.Path(nvidia.__file__).parent / "bin" / "cuobjdump"
    done = subprocess.run([tool, "--dump-resource-usage", "kernel.cubin"], capture_output=True, text=True, check=True)
    return {name: int(value) for name, value in re.findall(r"(REG|STACK|LOCAL):(\\d+)", done.stdout)}

for net in networks():
    KernelSteps(net, 0.9, noise(300, 256)).take(256)
kernels = {kernel.__name__: kernel for kernel, _, _ in launches}
launches = launches[:5] + launches[7:8]  # of the second network only the kernel that is another one
for kernel, arguments, options in launches:
    binary = compiled(kernel, arguments, options)
    products = binary.asm["ptx"].count("mma.sync") + binary.asm["ptx"].count("wgmma.mma_async")
    print(json.dumps([kernel.__name__, usage(binary), binary.metadata.shared, products]))
"""
    printed = python(PREPARE + code, TRITON_CACHE_DIR=str(tmp_path / "cache"))
    found = [json.loads(line) for line in printed.splitlines()]
    names = ["forward_convolutions", "hidden", "dense", "backward", "update", "dense"]
    assert [name for name, *_ in found] == names
    for name, usage, shared, products in found:
        print(f"{name}: {usage['REG']} registers a thread, {shared:,} bytes of shared memory, {products} products")
        assert usage["STACK"] == usage["LOCAL"] == 0, (name, usage)
        assert shared <= 227 * 1024, (name, shared)
        assert (products > 0) == (name != "update"), name


def test_what_the_kernels_cannot_do_is_declined_by_name():
    from lenet_utils.recorded.kernels import KernelSteps

    images, labels = torch.zeros(3, 28, 28, dtype=torch.uint8), torch.tensor([0, 1, 9])
    other, gaps = lenet(), lenet()
    other[3] = nn.MaxPool2d(2)
    gaps[8].weight = nn.Parameter(torch.zeros(400, 120).T)
    with pytest.raises(Declined, match="layer 3 of the network is MaxPool2d"):
        KernelSteps(other, 0.9, Batches(images, labels, 2))
    with pytest.raises(Declined, match=r"8\.weight has strides"):
        KernelSteps(gaps, 0.9, Batches(images, labels, 2))
    with pytest.raises(Declined, match="images are torch"):
        KernelSteps(lenet(), 0.9, Batches(images, labels, 2).but(images=images / 255))
    with pytest.raises(Declined, match=r"torch.uint8 \(3, 28, 28\), scaled to 32"):
        KernelSteps(lenet(), 0.9, Batches(images, labels, 2, resize=32))
    with pytest.raises(ValueError, match="expected labels from 0 to 9"):
        KernelSteps(lenet(), 0.9, Batches(images, labels + 1, 2))


def test_an_older_triton_is_declined(monkeypatch):
    from lenet_utils.recorded import kernels

    batches = Batches(torch.zeros(3, 28, 28, dtype=torch.uint8), torch.tensor([0, 1, 9]), 2)
    monkeypatch.setattr(kernels.triton, "__version__", "3.2.0")
    with pytest.raises(Declined, match=r"Triton 3\.3 or later and this is 3\.2\.0"):
        kernels.KernelSteps(lenet(), 0.9, batches)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no NVIDIA GPU on this machine")
def test_ten_recorded_steps_on_a_gpu_are_those_of_pytorch():
    from lenet_utils.recorded.kernels import KernelSteps

    device, stop = torch.device("cuda"), types.SimpleNamespace(check=lambda: None)
    images = torch.randint(0, 256, (9 * 256 + 96, 28, 28), dtype=torch.uint8)
    batches = Batches(images, torch.randint(0, 10, (len(images),)), 256).to(device)
    net = lenet().apply(train.init_xavier).to(device)
    before, eager = copy.deepcopy(net), copy.deepcopy(net)
    run_epoch, _ = recorded.record(net, 0.9, device, KernelSteps)
    histories = train.History("cuda"), train.History("cuda")
    ours = run_epoch(net, batches, None, device, histories[0], None, stop)
    theirs = train.train_epoch(eager, batches, train.SGD(eager.parameters(), 0.9), device, histories[1], None, stop)
    assert ours[:3] == pytest.approx(theirs[:3], rel=1e-3)
    for start, p, q in zip(before.parameters(), net.parameters(), eager.parameters()):
        # Both round the convolutions' factors to 10 bits, each in its own way.
        assert (p - q).norm() < 0.01 * (q - start).norm()
