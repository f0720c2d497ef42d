"""From 1998 to today: LeNet with its parts exchanged one at a time, and a training recipe switched on part by part.

Choices are made on 5,000 training images that are held out (`load_data_with_validation`), never on the test images.
"""

import dataclasses
import math
import numbers

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, update_bn

from .data import Batches, read_split
from .model import Reshape
from .support import checks
from .train import SGD, Accumulator, Timer, count_correct, cross_entropy, epoch_means, evaluate_accuracy_gpu


def lenet_with(activation=nn.Sigmoid, pooling=nn.AvgPool2d, batch_norm=False):
    """LeNet with parts of your choice; left alone, the network of `lenet()`. Images in, `(N, 10)` logits out.

    `batch_norm` puts a batch normalisation before each activation and takes away the bias that it would cancel.
    """

    def block(layer, channels, norm):
        return [layer, *([norm(channels)] if batch_norm else []), activation()]

    bias = not batch_norm
    return nn.Sequential(
        Reshape(),
        *block(nn.Conv2d(1, 6, kernel_size=5, padding=2, bias=bias), 6, nn.BatchNorm2d),
        pooling(kernel_size=2, stride=2),
        *block(nn.Conv2d(6, 16, kernel_size=5, bias=bias), 16, nn.BatchNorm2d),
        pooling(kernel_size=2, stride=2),
        nn.Flatten(),
        *block(nn.Linear(16 * 5 * 5, 120, bias=bias), 120, nn.BatchNorm1d),
        *block(nn.Linear(120, 84, bias=bias), 84, nn.BatchNorm1d),
        nn.Linear(84, 10),
    )


def modern_lenet(channels=(16, 40, 64, 52), halve=(True, True, False, True)):
    """A network no larger than LeNet that spends its weights on channels, not on linear layers.

    A 3 x 3 convolution with batch normalisation for each of `channels`; `halve` says which of them pool. Then the
    mean of each channel, and one linear layer. Images in, `(N, 10)` logits out; 59,770 parameters if left alone.
    """
    layers, in_channels = [Reshape()], 1
    for out_channels, pool in zip(channels, halve, strict=True):
        layers += conv_block(in_channels, out_channels, pool)  # out come sides of 14, 7, 7 and 3 pixels
        in_channels = out_channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(in_channels, 10))


def conv_block(in_channels, out_channels, pool):
    """The layers of a 3 x 3 convolution with batch normalisation and ReLU; `pool`: with max pooling, too."""
    return [
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
        *([nn.MaxPool2d(kernel_size=2)] if pool else []),  # first, so that what follows has a quarter of the work
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    ]


def init_he(layer):
    """He's weights for a convolution or a linear layer that ReLU follows: normal, with variance 2 / inputs."""
    if type(layer) in (nn.Linear, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def load_data_with_validation(batch_size, num_validation=5000, seed=0):
    """The 60,000 training images in two parts, `(train_iter, val_iter)`: one to train on, one to choose by.

    Which images are held out depends on `seed` only; PyTorch's random state stays as it was.
    Raises ValueError unless both parts get an image.
    """
    batch_size = checks.whole_number("batch_size", batch_size)
    images, labels = read_split("train")
    if not isinstance(num_validation, numbers.Integral) or not 0 < num_validation < len(labels):
        raise ValueError(f"expected num_validation from 1 to {len(labels) - 1}, got {num_validation}")
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed), device="cpu")
    held_out, rest = order[:num_validation], order[num_validation:]
    return (
        Batches(images[rest], labels[rest], batch_size, shuffle=True),
        Batches(images[held_out], labels[held_out], batch_size),
    )


# The transforms of torchvision.transforms.v2 draw once for a whole batch; the next two draw for each image. They draw
# on the CPU: `torch.manual_seed` then repeats the draws wherever the images are.


def mirror(X):
    """Images `(N, C, H, W)`, each with left and right exchanged or not, by a draw of its own."""
    mirrored = (torch.rand(len(X), device="cpu") < 0.5).to(X.device)  # by flip: torchvision takes 140 MB to load
    return torch.where(mirrored[:, None, None, None], X.flip(-1), X)


def shift(X, pixels=2):
    """Images `(N, C, H, W)`, each moved by up to `pixels` along both axes, by draws of its own; black comes in."""
    from torchvision.transforms.v2 import functional as transforms  # slow to import

    padded, X = transforms.pad(X, [pixels]), X.clone()
    side = 2 * pixels + 1
    corners = torch.randint(side * side, (len(X),), device="cpu")  # which of the windows in the padded image
    for corner in range(side * side):  # all those together that drew the same
        rows = (corners == corner).nonzero().squeeze(1).to(X.device)
        X[rows] = transforms.crop(padded[rows], corner // side, corner % side, *X.shape[2:])
    return X


def warm_up_and_cosine(step, num_steps, warm_up=0.2):
    """The learning rate of `step`, 0 to `num_steps`, as a fraction of its peak: a line up from 0, half a cosine to 0.

    >>> [round(warm_up_and_cosine(step, num_steps=10), 2) for step in (0, 1, 2, 6, 10)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    peak = warm_up * num_steps
    if step < peak or peak == num_steps:
        return step / peak
    return (1 + math.cos(math.pi * (step - peak) / (num_steps - peak))) / 2


class Nesterov(SGD):
    """Nesterov's momentum and weight decay: as `torch.optim.SGD(..., nesterov=True)`, but as cheap to load as `SGD`."""

    def __init__(self, parameters, lr, momentum=0.0, weight_decay=0.0):
        super().__init__(parameters, lr)
        self.momentum, self.weight_decay = momentum, weight_decay
        self.velocities = [torch.zeros_like(p) for p in self.parameters]

    @torch.no_grad()
    def step(self):
        for p, velocity in zip(self.parameters, self.velocities):
            if p.requires_grad and p.grad is not None:
                grad = p.grad.add(p, alpha=self.weight_decay)
                velocity.mul_(self.momentum).add_(grad)
                p.add_(grad.add(velocity, alpha=self.momentum), alpha=-self.lr)


@dataclasses.dataclass
class Measured:
    """What `train_modern` measured: one entry in each list for each epoch."""

    train_loss: list = dataclasses.field(default_factory=list)  # nats an image, mean over the epoch
    val_acc: list = dataclasses.field(default_factory=list)  # fraction 0..1; empty without `val_iter`
    lr: list = dataclasses.field(default_factory=list)  # the learning rate of the epoch's last batch
    seconds: list = dataclasses.field(default_factory=list)  # of training: loading included, `val_iter` not

    def add(self, train_loss, lr, seconds):
        self.train_loss.append(train_loss)
        self.lr.append(lr)
        self.seconds.append(seconds)

    def __len__(self):
        return len(self.train_loss)


def train_modern(
    net, train_iter, num_epochs, lr, val_iter=None, *, init_weights=None, momentum=0.0, schedule=False,
    weight_decay=0.0, augmentation=None, label_smoothing=0.0, average=0.0, bfloat16=False, device="cpu",
):  # fmt: skip
    """Train `net` with SGD on the cross-entropy loss, return a `Measured`; each part of the recipe is off unless given.

    `init_weights`: a function for every layer, such as `init_he`; None goes on from the weights that `net` has.
    `momentum`: Nesterov's. `schedule`: `lr` is the peak of `warm_up_and_cosine`. `augmentation`: such as `mirror`.
    `average`: the last part of all steps, 0..1; `net` ends with the mean of the weights after each of them.
    `bfloat16`: convolutions and linear layers in 16 bits, faster on processors that can.
    `val_iter`: measure the accuracy on these batches after every epoch.
    Everything random comes from PyTorch's random state: `torch.manual_seed` repeats a run.
    `net` comes back in evaluation mode, ready to predict.
    Raises ValueError for arguments that cannot work, before anything changes, and for a batch that cannot, before the
    weights see it; `Diverged` if the loss is no number.
    """
    check_recipe(net, train_iter, num_epochs, lr, momentum, weight_decay, label_smoothing, average)
    num_epochs, lr = int(num_epochs), float(lr)
    checks.function("init_weights", init_weights, of="a layer")
    checks.function("augmentation", augmentation, of="images")
    checks.switch("schedule", schedule)
    checks.switch("bfloat16", bfloat16)
    if val_iter is not None:
        checks.some_batches("val_iter", val_iter, num_epochs)
    device = checks.device(device)
    if init_weights is not None:
        net.apply(init_weights)
    put_channels_last(net.to(device))
    train_iter = train_iter.to(device) if isinstance(train_iter, Batches) else train_iter
    optimizer = Nesterov(net.parameters(), lr, momentum, weight_decay)
    mean_net, run = AveragedModel(net) if average else None, Measured()
    num_steps = num_epochs * len(train_iter)
    try:
        for epoch in range(num_epochs):
            timer, sums = Timer(), Accumulator(4)  # as in train_epoch
            net.train()
            for i, (X, labels) in enumerate(checks.pairs("train_iter", train_iter), start=1):
                checks.batch(X, labels)
                step = epoch * len(train_iter) + i
                if schedule:
                    optimizer.lr = lr * warm_up_and_cosine(step, num_steps)
                X, y = X.to(device), labels.to(device)
                X = augmentation(X) if augmentation else X
                optimizer.zero_grad()
                with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16), checks.types_explained(net, X):
                    y_hat = net(X)  # (N, 10) logits
                checks.logits(y_hat, labels)
                loss = cross_entropy(y_hat.float(), y, label_smoothing)
                loss.backward()
                optimizer.step()
                sums.add(loss * len(y), count_correct(y_hat, y), len(y), loss.isfinite())
                if average and step > num_steps * (1 - average):
                    mean_net.update_parameters(net)
            train_loss, _, _ = epoch_means(sums, len(train_iter), run)
            if average and epoch + 1 == num_epochs:
                use_mean(net, mean_net, train_iter, device, got=i)
            run.add(train_loss, optimizer.lr, timer.stop())
            if val_iter is not None:
                run.val_acc.append(evaluate_accuracy_gpu(net, val_iter, device))
    finally:
        net.eval()
    return run


def put_channels_last(net):
    """Lay out parameters with four axes with the channels last; kernels of volumes, with five, stay as they are."""
    for p in net.parameters():
        if p.ndim == 4:
            # Not `contiguous`, which leaves kernels for one channel alone, and then PyTorch takes a slower way.
            p.data = p.data.to(memory_format=torch.channels_last)


def use_mean(net, mean_net, train_iter, device, got):
    """Give `net` the weights of `mean_net`. Raises ValueError where the last epoch ended before there were any."""
    if not mean_net.n_averaged:
        raise ValueError(
            f"expected train_iter to give {len(train_iter)} batches an epoch, as its len() says, got {got}, "
            "so the last steps, whose weights were to be averaged, never came"
        )
    net.load_state_dict(mean_net.module.state_dict())
    update_bn(train_iter, net, device)  # the running averages belong to other weights: measure them anew


def check_recipe(net, train_iter, num_epochs, lr, momentum, weight_decay, label_smoothing, average):
    checks.trainable(net)
    checks.whole_number("num_epochs", num_epochs)
    checks.some_batches("train_iter", train_iter, num_epochs, sized=True)
    checks.learning_rate(lr)
    parts = {"momentum": momentum, "weight_decay": weight_decay, "label_smoothing": label_smoothing, "average": average}
    for name, part in parts.items():
        if isinstance(part, bool) or not isinstance(part, numbers.Real) or not 0 <= part < 1:
            raise ValueError(f"expected {name} to be a fraction from 0 up to, but not, 1, got {part!r}")
