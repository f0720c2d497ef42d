"""This course: its batches, its loop."""

import lenet_utils as d2l


def read(batch_size=256):
    return d2l.load_data_fashion_mnist(batch_size)


def train(data, num_epochs, seed, lr=0.9, **options):
    """Train a LeNet; returns images a second by its own timer, and the test accuracy. `data`: what `read` returns."""
    import torch  # not above: the course comes first, and tells PyTorch's threads how to wait

    torch.manual_seed(seed)
    net = d2l.lenet()
    history = d2l.train_ch6(net, *data, num_epochs, lr, d2l.try_gpu(), animator=False, **options)
    return {"own_examples_per_sec": history.examples_per_sec, "test_acc": history.test_acc[-1]}
