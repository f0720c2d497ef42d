"""The processes that train together: who does which images, and how they agree.

`torchrun` starts them and tells each its number (rank); PyTorch's `gloo` (on CPUs) or `nccl` (on GPUs) carries the
numbers between them. A team of one needs neither, and computes what a program without a team computes, bit for bit.
"""

import datetime
import math
import os
import socket
import sys

import torch
from torch import distributed

from ..support import checks

PATIENCE = datetime.timedelta(minutes=5)  # how long one waits for another, which may have lost its power


class Team:
    """One of `size` processes that train together, number `rank` of them, computing on `device`."""

    def __init__(self, rank=0, size=1, device="cpu", ddp=False):
        self.rank, self.size, self.device, self.ddp = rank, size, torch.device(device), ddp

    def share(self, X):
        """This process's part of the batch `X`: sizes differ by one at most, and may be 0."""
        return X if self.size == 1 else X.tensor_split(self.size)[self.rank]

    def weight(self, images, all_images):
        """What this process's mean over `images` counts for in the mean over `all_images` of the batch."""
        return images / all_images * (self.size if self.ddp else 1)  # DDP divides by the number of processes

    def wrap(self, net):
        """`net`, with the weights of process 0 everywhere; with `ddp`, in PyTorch's DistributedDataParallel."""
        if self.size > 1:
            for tensor in net.state_dict().values():
                distributed.broadcast(tensor, src=0)
        if not self.ddp:
            return net
        # It would reorder the gradients after its first step: a run that goes on would add them in another order.
        return torch.nn.parallel.DistributedDataParallel(net, find_unused_parameters=True)

    def add_up_gradients(self, net):
        """The sum of all processes' gradients, in every process: one all-reduce for all parameters together."""
        if self.size == 1 or self.ddp:  # DDP has done so in `backward`, while it went on
            return
        gradients = [p.grad for p in net.parameters() if p.grad is not None]
        together = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(together)  # a message costs more than its numbers, so there is one of them
        for gradient, part in zip(gradients, together.split([gradient.numel() for gradient in gradients])):
            gradient.copy_(part.view_as(gradient))

    def share_buffers(self, net):
        """The buffers of process 0 in every process: running averages are of the shares that each has seen."""
        if self.size > 1:
            for buffer in net.buffers():
                distributed.broadcast(buffer, src=0)

    def gather(self, numbers):
        """Everybody's `numbers`: a list of floats from each process. Waits for all of them."""
        numbers = list(map(float, numbers))
        if self.size == 1:
            return [numbers]
        mine = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        theirs = [torch.empty_like(mine) for _ in range(self.size)]
        distributed.all_gather(theirs, mine)
        return [row.tolist() for row in theirs]

    def total(self, numbers):
        """The sums of everybody's `numbers`, exactly rounded, so that they do not depend on the order."""
        return list(map(math.fsum, zip(*self.gather(numbers))))

    def agree(self, *wishes):
        """For each of `wishes`, whether anybody has it."""
        return [any(wish) for wish in zip(*self.gather(wishes))] if self.size > 1 else list(wishes)

    def tell(self, packed):
        """The bytes that process 0 has, in every process."""
        if self.size == 1:
            return packed
        size = torch.tensor([len(packed or b"")], device=self.device)
        distributed.broadcast(size, src=0)
        message = torch.empty(int(size), dtype=torch.uint8, device=self.device)
        if self.rank == 0 and packed:
            message.copy_(torch.frombuffer(bytearray(packed), dtype=torch.uint8))
        distributed.broadcast(message, src=0)
        return bytes(message.cpu().numpy())


def join(device=None, ddp=False):
    """The `Team` of this process: with those that `torchrun` started beside it, or alone.

    `device`: where it computes, by default a GPU of its own where there is one, else the CPU.
    """
    if "WORLD_SIZE" not in os.environ:  # not under torchrun
        from ..train import try_gpu

        return Team(device=checks.device(device) if device else try_gpu())
    device = place_in_team(device or os.environ.get("LENET_DEVICE"))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    else:
        stay_on_this_machine()
    backend = "nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=PATIENCE, **meeting_point())
    return Team(distributed.get_rank(), distributed.get_world_size(), device, ddp)


def place_in_team(wanted=None):
    """The device of this process among those that torchrun started here: all of them compute on the same kind.

    Raises ValueError where `wanted` is none that each of them can have.
    """
    gpu, processes = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    if wanted is None:
        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        wanted = "cuda" if gpus >= processes else "cpu"
        if 0 < gpus < processes and gpu == 0:
            print(f"{processes} processes and a GPU for {gpus} of them: all of them compute on the CPU", flush=True)
    if str(wanted) == "cuda":
        wanted = f"cuda:{gpu}"
    device = checks.device(wanted)
    shared = device.type == "cuda" and device.index != gpu and processes > 1
    if shared or device.type not in ("cpu", "cuda"):
        raise ValueError(
            f"expected a device for each of {processes} processes, got {device} for number {gpu}: "
            "use cuda, which gives each a GPU of its own, or cpu"
        )
    return device


def meeting_point():
    """Where the processes tell each other their addresses, as arguments for `init_process_group`.

    torchrun keeps one board for that, also when it starts the processes again. Without a place of its own on it
    for each start, a process may find the addresses of the dead, and fail to reach them.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return {}
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    board = distributed.TCPStore(address, port, size, is_master=False)
    start = f"start {os.environ['TORCHELASTIC_RESTART_COUNT']} of {size}"
    return {"store": distributed.PrefixStore(start, board), "rank": rank, "world_size": size}


def stay_on_this_machine():
    """Let gloo talk through the loopback where all processes are here: it works unplugged, and past a firewall."""
    if os.environ["LOCAL_WORLD_SIZE"] != os.environ["WORLD_SIZE"]:
        return
    loopback = [name for _, name in socket.if_nameindex() if name in ("lo", "lo0")]  # Linux, macOS
    if loopback:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback[0])


def leave(status=0):
    """End this process with `status`, and with it the connections to the others; a team of one goes on.

    PyTorch's own `destroy_process_group` can wait for ever (seen with 2.4 and 2.6): it keeps Python's lock while it
    waits for a thread, which may need that lock to give back its last message.
    """
    if distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
