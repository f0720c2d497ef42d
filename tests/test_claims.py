"""What the notebooks say in passing, where no cell of theirs shows it."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lenet_utils as d2l
from lenet_utils import plateau, train
from lenet_utils.data import Batches, read_split
from lenet_utils.trained import trained_lenet


@pytest.fixture(scope="module")
def images():
    """The first batches of the training set, `(n, 1, 28, 28)` from 0 to 1, and their labels."""
    images, labels = read_split("train")
    return next(iter(Batches(images[:15_360], labels[:15_360], 15_360)))


def steps(net, lr, X, y, size=256):
    """One step of SGD on every batch of `size`; gives back their losses."""
    losses = []
    for X_part, y_part in zip(X.split(size), y.split(size)):
        loss = F.cross_entropy(net(X_part), y_part)
        net.zero_grad()
        loss.backward()
        with torch.no_grad():
            for p in net.parameters():
                p -= lr * p.grad
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("seed", range(3))
def test_a_single_layer_in_place_of_the_note_s_last_two_is_not_thrown(images, seed):
    """Notebook 3: what a network can say is one thing; how far a step moves it is another."""
    note = plateau.note_lenet()
    single = nn.Sequential(*copy.deepcopy(note)[:-2], nn.Linear(120, 10))
    highest, stuck = [], []
    for net in (note, single):
        torch.manual_seed(seed)
        net.apply(train.init_xavier)
        highest.append(max(steps(net, 0.9, *images)))
        units = net[:-1](images[0][:256]) if net is single else net[:-2](images[0][:256])
        stuck.append(((units < 0.01) | (units > 0.99)).float().mean().item())
    assert highest[0] > 2.5 * highest[1] and highest[1] < 6
    assert stuck[0] > 0.9 and stuck[1] < 0.1


@pytest.mark.parametrize("size", [1, 256])
def test_a_step_is_a_compromise_of_what_the_pictures_push(images, size):
    """Notebook 3: alone, a picture gets its right logit up; of the 256 of a batch many don't."""
    net = trained_lenet()
    up = []
    for X, y in zip(images[0][:2560].split(size)[:10], images[1][:2560].split(size)[:10]):
        moved, is_right = copy.deepcopy(net), F.one_hot(y, 10).bool()
        before = moved(X)
        steps(moved, 0.01, X, y, size)
        up.append((moved(X) - before)[is_right] > 0)
    share = torch.cat(up).float().mean().item()
    assert share == 1 if size == 1 else 0.3 < share < 0.8


def test_from_zeros_the_six_filters_stay_one(images):
    """Notebook 3: the dice are there to make them different."""
    net = d2l.lenet()
    for p in net.parameters():
        nn.init.zeros_(p)
    steps(net, 0.9, *images)
    first = net[1].weight
    assert all(torch.equal(first[0], other) for other in first[1:])
    torch.manual_seed(0)
    net.apply(train.init_xavier)
    steps(net, 0.9, *images)
    assert not torch.allclose(first[0], first[1], atol=0.01)


@pytest.mark.parametrize("network", plateau.STARTS)
def test_adam_s_steps_are_two_or_three_thousandths_at_most(images, network):
    """Notebook 5, of the lab's 300 steps at a rate of 0.001, of which this takes 240."""
    net = plateau.begin(plateau.STARTS[network]["as it is"], seed=0)
    optimizer = torch.optim.Adam(net.parameters(), 0.001)
    largest, usual = [], []
    for X, y in zip(images[0].split(64), images[1].split(64)):
        before = nn.utils.parameters_to_vector(net.parameters()).detach()
        optimizer.zero_grad()
        F.cross_entropy(net(X), y).backward()
        optimizer.step()
        sizes = (nn.utils.parameters_to_vector(net.parameters()).detach() - before).abs()
        largest.append(sizes.max().item()), usual.append(sizes.mean().item())
    assert 0.0015 < max(largest) < 0.0035 and max(usual[1:]) < 0.001


@pytest.mark.parametrize("seed", range(2))
def test_sigmoids_cannot_learn_one_batch_at_the_clinic_s_small_rate(images, seed):
    """The clinic: a healthy loop fails there, too, if its network or its learning rate doesn't suit."""
    torch.manual_seed(seed)
    net = d2l.lenet().apply(train.init_xavier)
    X, y = images[0][:32], images[1][:32]
    assert steps(net, 0.1, X.repeat(500, 1, 1, 1), y.repeat(500), size=32)[-1] > 1.4


def test_pixel_times_gradient_promises_less_than_blackening_does(images):
    """Notebook 4: it gets wrong how far the score falls, and picks the right pixels all the same."""
    net = trained_lenet()
    X = images[0][:200].clone().requires_grad_()
    scores = net(X)
    answers = scores.argmax(dim=1, keepdim=True)
    scores.gather(1, answers).sum().backward()
    product = (X.detach() * X.grad).flatten(1)
    values, places = product.topk(60)
    broken = X.detach().flatten(1).scatter(1, places, 0.0).view_as(X)
    with torch.no_grad():
        falls = (scores - net(broken)).gather(1, answers).squeeze(1)
    promised = values.sum(dim=1)
    assert (falls > 0).float().mean() > 0.95
    assert (falls / promised).median() > 1.25
