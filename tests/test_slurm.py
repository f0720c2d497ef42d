"""Notebook 7's script for a cluster, run by a real Slurm with two nodes. Both are this machine, under other names."""

import contextlib
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time

import nbformat
import psutil
import pytest
import servers
from conftest import fresh_environment

from lenet_utils.parallel.checkpoint import Checkpoint

pytestmark = pytest.mark.doors

COURSE = pathlib.Path(__file__).parent.parent
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "unshare")
NODES = {"node1": "127.0.0.1", "node2": "127.0.0.2"}
CONFIGURATION = """
ClusterName=classroom
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
# the script asks for 16 cores a node, whatever this machine has
SlurmdParameters=config_overrides
# only a job whose script asks for it is queued anew
JobRequeue=0
# a node that comes back is welcome
ReturnToService=2
PartitionName=all Nodes=ALL Default=YES State=UP
"""


def until(condition, seconds=60, told=lambda: ""):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, told()
        time.sleep(0.2)


class Cluster:
    """A Slurm of its own, with its daemons' files in `folder`."""

    def __init__(self, folder):
        self.folder, self.daemons = folder, {}
        port, *node_ports = servers.free_ports(3)
        lines = [CONFIGURATION.format(host=socket.gethostname(), port=port, folder=folder)]
        for (name, address), node_port in zip(NODES.items(), node_ports):
            lines.append(f"NodeName={name} NodeAddr={address} Port={node_port} CPUs=32")  # for two jobs
        (folder / "slurm.conf").write_text("\n".join(lines) + "\n")
        hosts = {"localhost": "127.0.0.1", **NODES}
        (folder / "hosts").write_text("".join(f"{address} {name}\n" for name, address in hosts.items()))
        (folder / "state").mkdir()
        key = folder / "key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))
        self.environment = fresh_environment() | {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "HOME": str(folder),  # where the script keeps its checkpoint
            "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]),  # of torchrun
            "OMP_NUM_THREADS": "1",
        }

    def start(self):
        names = {"key-file": "key", "socket": "munge.socket", "pid-file": "munged.pid", "seed-file": "seed"}
        options = [f"--{option}={self.folder / name}" for option, name in names.items()]
        self.run("munged", "munged", "--foreground", "--force", *options)
        until((self.folder / "munge.socket").exists, told=self.logs)
        self.run("slurmctld", "slurmctld", "-D", "-c")
        for name in NODES:
            self.start_node(name)
        until(lambda: self.states() == ["idle", "idle"], told=self.logs)

    def run(self, daemon, *command):
        with (self.folder / f"{daemon}.out").open("a") as out:
            self.daemons[daemon] = psutil.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=self.environment
            )

    def start_node(self, name):
        """Slurm finds out which node it is by the machine's name, and torchrun finds the others by theirs.

        With the first process of a node all others end, as if somebody had unplugged it.
        """
        prepare = f"mount --bind {self.folder}/hosts /etc/hosts && hostname {name} && exec slurmd -D -N {name}"
        own = ("--uts", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child")
        self.run(name, "unshare", *own, "sh", "-c", prepare)

    def lose_node(self, name):
        self.unplug(name)
        self.ask("scontrol", "update", f"nodename={name}", "state=down", "reason=unplugged")

    def unplug(self, name):
        node = self.daemons.pop(name)
        node.kill()
        node.wait()

    def kill_programs(self, name):
        """All that the job runs on a node: `torchrun`, and then what it has started."""
        for process in self.daemons[name].children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # or has ended, and nobody has asked how
                if "lenet_utils.parallel" in process.cmdline():
                    process.kill()

    def ask(self, *command):
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, cwd=self.folder, timeout=60
        )
        assert done.returncode == 0, done.stderr + self.logs()
        return done.stdout

    def states(self):
        """Of all nodes; empty as long as nobody answers."""
        command = ["sinfo", "--noheader", "--Node", "--format=%T"]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True).stdout.split()

    def state(self, job):
        return self.ask("squeue", "--noheader", f"--jobs={job}", "--states=all", "--format=%T").strip()

    def logs(self):
        return "\n".join(f"{path.name}: {path.read_text()[-2000:]}" for path in self.folder.glob("*.log"))

    def close(self):
        with contextlib.suppress(Exception):
            self.ask("scancel", "--user=root")
            until(lambda: not self.ask("squeue", "--noheader"))
        for name in NODES.keys() & self.daemons:
            self.unplug(name)
        for daemon in reversed(self.daemons.values()):
            servers.end(daemon)


@pytest.fixture
def cluster(tmp_path):
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing or subprocess.run(["unshare", "--uts", "--mount", "--pid", "--fork", "true"]).returncode != 0:
        pytest.skip(f"needs Slurm and root's rights to give a node a name; missing: {missing or 'the rights'}")
    made = Cluster(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.close()


def script(changes):
    """The notebook's script for Slurm with `changes`, a dict of old texts and new ones."""
    notebook = nbformat.read(COURSE / "notebooks" / "7_many_machines.ipynb", as_version=4)
    (text,) = [found for cell in notebook.cells for found in re.findall(r"```bash\n(#!.*?)```", cell.source, re.DOTALL)]
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def test_the_script_of_notebook_7(cluster):
    """It runs on both nodes; SIGTERM, which Slurm sends before the time is over, ends it; and it goes on afterwards.

    A node that is lost makes Slurm queue it again, one on which `torchrun` is lost ends it.
    """
    changes = {  # no GPUs, fewer processes, and more to do for them
        "--gpus-per-node=8 ": "",
        "--nproc-per-node 8": "--nproc-per-node 1",
        "--epochs 10 --device cuda": "--epochs 100000 --images 1280 --device cpu",
    }
    (cluster.folder / "lenet.sbatch").write_text(script(changes))

    def submitted():
        printed = cluster.ask("sbatch", "--output=said", "lenet.sbatch")
        return re.fullmatch(r"Submitted batch job (\d+)\n", printed)[1]

    said, checkpoint = cluster.folder / "said", Checkpoint(cluster.folder / "lenet")

    def says(pattern):
        until(
            lambda: said.exists() and re.search(pattern, said.read_text(), re.MULTILINE), 120,
            lambda: (said.read_text() if said.exists() else "") + cluster.logs(),
        )  # fmt: skip
        found = re.search(pattern, said.read_text(), re.MULTILINE)
        said.write_text("")  # Slurm appends
        return found

    def ends(job):
        until(lambda: cluster.state(job) not in ("RUNNING", "COMPLETING"), told=cluster.logs)

    job, following = submitted(), submitted()
    says(r"^training on cpu with 2 processes$")
    says(r"^epoch ")
    assert (cluster.state(job), cluster.state(following)) == ("RUNNING", "PENDING")  # one at a time
    assert "CPUs=32 " in cluster.ask("scontrol", "show", "step", f"{job}.0")  # all that it has, 16 on each node
    cluster.ask("scontrol", "hold", following)  # until what the first one has saved is read

    cluster.ask("scontrol", "update", f"jobid={job}", "endtime=now+85")  # Slurm looks at the time twice a minute
    epoch = int(says(r"^stopped in epoch (\d+) of 100000; the network keeps what it has learned$")[1])
    ends(job)
    assert cluster.state(job) == "FAILED"  # a minute before its TIMEOUT
    state = checkpoint.load()[1]
    assert state["epoch"] == epoch - 1

    job = following
    cluster.ask("scontrol", "release", job)
    within = f" and batch {state['batch']} of 5" if state["batch"] else ""
    says(f"^going on after epoch {state['epoch']}{within}, of 100000 epochs")
    says(r"^epoch ")

    cluster.lose_node("node2")  # and the job is queued again
    until(lambda: cluster.state(job) == "PENDING")
    state = checkpoint.load()[1]
    said.write_text("what it had printed\n")
    cluster.start_node("node2")
    until(lambda: cluster.states() == ["idle", "idle"], told=cluster.logs)
    cluster.ask("scontrol", "update", f"jobid={job}", "starttime=now")  # Slurm would give it two minutes
    found = says(r"\A(what it had printed\n)?(?s:.*?)^going on after epoch (\d+)")
    assert found[1] and int(found[2]) >= state["epoch"]
    says(r"^epoch ")

    cluster.kill_programs("node2")
    ends(job)  # nobody pays for the other node, which would wait for this one
