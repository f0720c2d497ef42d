"""The lab of the dead start: LeNet with one thing changed, its first steps, and what to measure meanwhile."""

import dataclasses
import math

import torch
from torch import nn
from torch.nn import functional as F

from .model import lenet, random_state_kept
from .train import SGD

STEPS, BATCH = 300, 64  # 19,200 pictures, once: enough to leave the plateau, or to be seen not to


class CentredSigmoid(nn.Module):
    """The sigmoid lowered by a half: the same slope everywhere, but around 0 instead of around 1/2."""

    def forward(self, X):
        return torch.sigmoid(X) - 0.5


def note_lenet():
    """The study note's network: `lenet()` without the sigmoid between the last two linear layers."""
    net = lenet()
    del net[-2]
    return net


def with_activation(net, make):
    """`net`, a Sequential, with `make()` in the place of each Sigmoid. The weights are the same tensors."""
    return nn.Sequential(*(make() if isinstance(layer, nn.Sigmoid) else layer for layer in net))


def with_batch_norm(net):
    """`net`, a Sequential, with a batch normalisation before each Sigmoid."""
    layers = []
    for layer in net:
        if isinstance(layer, nn.Sigmoid):
            below = layers[-1]
            is_convolution = isinstance(below, nn.Conv2d)
            layers.append(nn.BatchNorm2d(below.out_channels) if is_convolution else nn.BatchNorm1d(below.out_features))
        layers.append(layer)
    return nn.Sequential(*layers)


@dataclasses.dataclass(frozen=True)
class Start:
    """A network and what decides its first steps: the size of its first weights, and the learning rates."""

    make: object  # a function of nothing that returns the network
    lr: float = 0.9  # the note's
    gain: float = 1.0  # the first weights are Xavier's times this
    convolutions: float = 1.0  # their learning rate, as a multiple of the other layers'


def changed(base):
    """The lab's starts for the network that `base()` makes, by name: as it is, and with one or two things changed."""
    return {
        "as it is": Start(base),
        "learning rate 0.2": Start(base, lr=0.2),
        "weights 4 times as large": Start(base, gain=4.0),
        "centred sigmoid": Start(lambda: with_activation(base(), CentredSigmoid)),
        "tanh": Start(lambda: with_activation(base(), nn.Tanh)),
        "ReLU": Start(lambda: with_activation(base(), nn.ReLU)),
        "batch normalisation": Start(lambda: with_batch_norm(base())),
        "convolutions frozen": Start(base, convolutions=0.0),
        "convolutions 10 times as fast": Start(base, convolutions=10.0),
        "tanh, learning rate 0.1": Start(lambda: with_activation(base(), nn.Tanh), lr=0.1),
        "ReLU, learning rate 0.1": Start(lambda: with_activation(base(), nn.ReLU), lr=0.1),
    }


STARTS = {"the note's network": changed(note_lenet), "lenet()": changed(lenet)}


def begin(start, seed):
    """A fresh network as `start` says, its weights drawn from `seed`."""
    torch.manual_seed(seed)
    net = start.make()
    for layer in net:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(layer.weight, gain=start.gain)
    return net


def first_losses(net, batches, lr, convolutions=1.0):
    """The loss in nats at each step of SGD over `batches`, `(X, y)`, up to the first that is not a number.

    `convolutions`: their learning rate as a multiple of `lr`.
    """
    lower = [p for layer in net if isinstance(layer, nn.Conv2d) for p in layer.parameters()]
    upper = [p for p in net.parameters() if not any(p is other for other in lower)]
    optimizers, losses = [SGD(lower, lr * convolutions), SGD(upper, lr)], []
    for X, y in batches:
        net.zero_grad()
        loss = F.cross_entropy(net(X), y)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            break
    return losses


def sharpness(net, X, y, rounds=12):
    """The largest curvature of the loss on `(X, y)`: the largest eigenvalue of its Hessian, by Lanczos's method.

    A small step of gradient descent leads down only while lr times this is below 2; above, it overshoots the valley,
    in the steepest direction, by more each time. Leaves the gradients and the random state as they were.
    """
    weights = [p for p in net.parameters() if p.requires_grad]
    with random_state_kept(weights[0].device):  # dropout draws
        loss = F.cross_entropy(net(X), y)
    gradient = flat(torch.autograd.grad(loss, weights, create_graph=True))
    with random_state_kept(weights[0].device):
        bent = torch.randn_like(gradient)
    directions, all_bent = [], []
    for _ in range(rounds):
        direction = at_right_angles(bent, directions)
        if direction is None:
            break
        slope = gradient @ direction.to(gradient)
        bent = flat(torch.autograd.grad(slope, weights, retain_graph=True))  # the Hessian times the direction
        directions.append(direction)
        all_bent.append(bent.cpu().double())
    small = torch.stack(directions) @ torch.stack(all_bent).T  # the Hessian, as far as these directions see it
    return float(torch.linalg.eigvalsh((small + small.T) / 2)[-1]) if small.isfinite().all() else math.nan


def flat(tensors):
    return torch.cat([tensor.flatten() for tensor in tensors])


def at_right_angles(vector, directions):
    """The part of `vector` that lies in none of `directions`, with length 1; None where next to nothing is left."""
    vector = vector.detach().cpu().double()
    left = vector
    for direction in directions * 2:  # once more, as rounding has left a little
        left = left - (direction @ left) * direction
    return left / left.norm() if left.norm() > 1e-6 * vector.norm() else None


def signal(net, X):
    """What comes out of each layer of `net` for the images `X`: a list of `(name, tensor)`, the batch axis in front."""
    outputs = []
    with torch.no_grad():
        for i, layer in enumerate(net):
            X = layer(X)
            outputs.append((f"{i} {layer.__class__.__name__}", X))
    return outputs


def spread(values):
    """How different `values` `(N, ...)` are for different images: the standard deviation over them, mean of units."""
    return float(values.std(dim=0).mean())


def gradient_sizes(net, X, y):
    """The length of the loss's gradient for each weight tensor (not the biases), by the layer's name, bottom first."""
    weights = {f"{i} {layer.__class__.__name__}": layer.weight for i, layer in enumerate(net)
               if isinstance(layer, (nn.Conv2d, nn.Linear))}  # fmt: skip
    gradients = torch.autograd.grad(F.cross_entropy(net(X), y), list(weights.values()))
    return {name: float(gradient.norm()) for name, gradient in zip(weights, gradients)}
