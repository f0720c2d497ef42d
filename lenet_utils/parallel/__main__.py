"""What `torchrun --standalone --nproc-per-node 2 -m lenet_utils.parallel` begins with."""

from .program import main

if __name__ == "__main__":
    main()
