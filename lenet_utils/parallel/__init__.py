"""Training that several processes share, and that goes on after a kill: `torchrun -m lenet_utils.parallel`."""
