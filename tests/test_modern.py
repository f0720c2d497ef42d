"""The way from 1998 to today: each part of the recipe does what it says, and nothing that was not asked for."""

import copy
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lenet_utils as d2l
from lenet_utils import modern
from lenet_utils.data import Batches, read_split

LENET = 61_706  # the parameters of lenet()


def count(net):
    return sum(p.numel() for p in net.parameters())


def weights(net):
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def small_batches(n=12, batch_size=4, shuffle=True):
    images, labels = read_split("train")
    return Batches(images[:n], labels[:n], batch_size, shuffle=shuffle)


def tiny_net():
    return nn.Sequential(d2l.Reshape(), nn.Flatten(), nn.Linear(784, 10))


# the networks


def test_lenet_left_alone_is_lenet():
    net, X = modern.lenet_with(), torch.rand(3, 1, 28, 28)
    oracle = d2l.lenet()
    oracle.load_state_dict(net.state_dict())
    assert torch.equal(net(X), oracle(X)) and count(net) == LENET


def test_lenet_with_other_parts():
    net = modern.lenet_with(nn.ReLU, nn.MaxPool2d)
    kinds = [type(layer) for layer in net]
    assert count(net) == LENET
    assert kinds.count(nn.ReLU) == 4 and kinds.count(nn.MaxPool2d) == 2
    assert nn.Sigmoid not in kinds and nn.AvgPool2d not in kinds


def test_batch_norm_stands_before_each_activation_and_takes_the_bias_away():
    net = modern.lenet_with(nn.ReLU, batch_norm=True)
    for before, norm, after in zip(net, net[1:], net[2:]):
        if isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d)):
            assert isinstance(after, nn.ReLU) and before.bias is None
    assert sum(isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)) for layer in net) == 4
    assert count(net) == LENET + 6 + 16 + 120 + 84  # scale and shift for each feature, without its bias


def test_the_modern_network_is_no_larger_than_lenet():
    net = modern.modern_lenet()
    assert count(net) == 59_770 <= LENET
    assert net(torch.rand(2, 784)).shape == (2, 10)
    shapes = [row.shape for row in d2l.layer_table(net) if row.layer == "BatchNorm2d"]
    assert shapes == [(1, 16, 14, 14), (1, 40, 7, 7), (1, 64, 7, 7), (1, 52, 3, 3)]


def test_pooling_before_relu_is_pooling_after_it():
    X = torch.randn(2, 3, 6, 6)
    assert torch.equal(F.relu(F.max_pool2d(X, 2)), F.max_pool2d(F.relu(X), 2))


def test_he_keeps_the_mean_square_through_relu():
    layer, X = nn.Linear(2000, 2000), torch.randn(50, 2000)
    modern.init_he(layer)
    assert (F.relu(layer(X)) ** 2).mean().item() == pytest.approx(1, rel=0.05)
    assert layer.bias.abs().sum() == 0


def test_he_leaves_other_layers_alone():
    norm = nn.BatchNorm2d(3)
    modern.init_he(norm)
    assert torch.equal(norm.weight, torch.ones(3))
    modern.init_he(nn.Conv2d(1, 2, 3, bias=False))  # nothing to zero


# the split


def test_the_validation_images_are_held_out():
    train_iter, val_iter = modern.load_data_with_validation(256)
    assert len(train_iter.labels) == 55_000 and len(val_iter.labels) == 5_000
    assert train_iter.shuffle and not val_iter.shuffle
    images, labels = read_split("train")
    together = torch.cat([train_iter.images, val_iter.images])
    assert sorted(map(bytes, together.numpy())) == sorted(map(bytes, images.numpy()))  # each image once
    assert torch.equal(torch.cat([train_iter.labels, val_iter.labels]).bincount(), labels.bincount())


def test_the_seed_decides_the_split_and_nothing_else_does():
    state = torch.random.get_rng_state()
    first = modern.load_data_with_validation(256)[1]
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(9)
    assert torch.equal(modern.load_data_with_validation(64)[1].images, first.images)
    assert not torch.equal(modern.load_data_with_validation(64, seed=1)[1].images, first.images)


def test_the_split_is_the_same_whatever_the_default_device():
    expected = modern.load_data_with_validation(256)[1]
    with torch.device("meta"):  # stands for a GPU
        assert torch.equal(modern.load_data_with_validation(256)[1].images, expected.images)


@pytest.mark.parametrize("number", [0, 60_000, -1, 0.1])
def test_a_split_without_one_part_is_refused(number):
    with pytest.raises(ValueError, match=f"expected num_validation from 1 to 59999, got {number}"):
        modern.load_data_with_validation(256, num_validation=number)


# augmentation


def moved(image, down, right):
    """`image` `(H, W)` with its content moved, pixel by pixel."""
    height, width = image.shape
    result = torch.zeros_like(image)
    for i in range(height):
        for j in range(width):
            if 0 <= i - down < height and 0 <= j - right < width:
                result[i, j] = image[i - down, j - right]
    return result


def draws(made, versions):
    """How often each of `versions` (pictures `(H, W)`) is among `made` `(N, 1, H, W)`; each must be one of them."""
    keys = [version.numpy().tobytes() for version in versions]
    drawn = [keys.index(picture.numpy().tobytes()) for picture in made[:, 0]]
    return torch.tensor(drawn).bincount(minlength=len(keys))


def test_every_image_is_mirrored_or_not_by_a_draw_of_its_own():
    image = torch.rand(6, 5)
    both = draws(modern.mirror(image.expand(600, 1, 6, 5)), [image, image.flip(1)])
    assert both.min() > 240


def test_every_image_is_shifted_by_draws_of_its_own():
    image = torch.rand(6, 5)
    versions = [moved(image, down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    assert draws(modern.shift(image.expand(900, 1, 6, 5), pixels=1), versions).min() > 60


@pytest.mark.parametrize("transform", [modern.mirror, modern.shift])
def test_augmentation_leaves_its_input_alone_and_repeats_with_the_seed(transform):
    X = torch.rand(8, 1, 28, 28)
    before = X.clone()
    torch.manual_seed(1)
    first = transform(X)
    assert torch.equal(X, before) and first.shape == X.shape and first.dtype == X.dtype
    torch.manual_seed(1)
    assert torch.equal(transform(X), first)


@pytest.mark.parametrize("transform", [modern.mirror, modern.shift])
def test_augmentation_draws_alike_whatever_the_default_device(transform):
    X = torch.rand(8, 1, 28, 28)
    torch.manual_seed(1)
    first = transform(X)
    torch.manual_seed(1)
    with torch.device("meta"):  # stands for a GPU
        assert torch.equal(transform(X), first)


# the recipe, a part at a time


def test_without_any_part_it_is_plain_gradient_descent():
    """One epoch, by hand: the same weights."""
    net, batches = tiny_net(), small_batches(shuffle=False)
    oracle = copy.deepcopy(net)
    modern.train_modern(net, batches, 1, 0.3)
    for X, y in batches:
        gradients = torch.autograd.grad(F.cross_entropy(oracle(X), y), list(oracle.parameters()))
        with torch.no_grad():
            for p, gradient in zip(oracle.parameters(), gradients):
                p -= 0.3 * gradient
    assert torch.allclose(weights(net), weights(oracle), atol=1e-6)


def test_momentum_and_weight_decay_by_hand():
    """Nesterov's momentum: the step looks ahead along the velocity."""
    net, batches = tiny_net(), small_batches(shuffle=False)
    oracle = copy.deepcopy(net)
    modern.train_modern(net, batches, 2, 0.1, momentum=0.9, weight_decay=0.01)
    velocity = [torch.zeros_like(p) for p in oracle.parameters()]
    for X, y in [*batches, *batches]:
        gradients = torch.autograd.grad(F.cross_entropy(oracle(X), y), list(oracle.parameters()))
        with torch.no_grad():
            for p, v, gradient in zip(oracle.parameters(), velocity, gradients):
                gradient = gradient + 0.01 * p
                v.mul_(0.9).add_(gradient)
                p -= 0.1 * (gradient + 0.9 * v)
    assert torch.allclose(weights(net), weights(oracle), atol=1e-6)


def test_a_layer_that_thaws_on_the_way_learns_as_with_pytorchs_sgd():
    net, batches = tiny_net(), small_batches(shuffle=False)
    first = next(net.parameters()).requires_grad_(False)
    twin, seen = copy.deepcopy(net), []

    def thaw(net, inputs):
        seen.append(inputs)
        first.requires_grad_(len(seen) > 2 * len(batches))

    net.register_forward_pre_hook(thaw)
    modern.train_modern(net, batches, 4, 0.1, momentum=0.9)
    optimizer = torch.optim.SGD(twin.parameters(), 0.1, momentum=0.9, nesterov=True)
    for epoch in range(4):
        next(twin.parameters()).requires_grad_(epoch >= 2)
        for X, y in batches:
            optimizer.zero_grad()
            F.cross_entropy(twin(X), y).backward()
            optimizer.step()
    assert torch.allclose(weights(net), weights(twin), atol=1e-6)


def test_frozen_parameters_stay_even_with_a_gradient():
    net = tiny_net()
    for p in net.parameters():
        p.requires_grad_(False).grad = torch.ones_like(p)
    before = weights(net)
    modern.Nesterov(net.parameters(), 0.1).step()
    assert torch.equal(weights(net), before)


def test_kernels_for_one_channel_are_laid_out_as_pytorch_would():
    """Either layout is theirs in the same memory; which strides they have decides how the whole network computes."""
    ours, theirs = modern.modern_lenet(), modern.modern_lenet().to(memory_format=torch.channels_last)
    modern.put_channels_last(ours)
    assert [p.stride() for p in ours.parameters()] == [p.stride() for p in theirs.parameters()]
    assert ours[1].weight.shape[1] == 1 and ours[1].weight.stride() != nn.Conv2d(1, 16, 3).weight.stride()


def test_a_net_for_volumes_trains_and_its_kernels_stay_as_they_are():
    net = nn.Sequential(nn.Conv3d(1, 2, 3), nn.Flatten(), nn.Linear(144, 3))
    modern.train_modern(net, [(torch.rand(8, 1, 4, 8, 8), torch.arange(8) % 3)], 1, 0.1)
    assert net[0].weight.is_contiguous()
    net = modern.modern_lenet()
    modern.train_modern(net, small_batches(), 1, 0.1)
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in net.parameters() if p.ndim == 4)


def test_label_smoothing_is_in_the_loss():
    net, batches = tiny_net(), small_batches(batch_size=12, shuffle=False)
    X, y = next(iter(batches))
    target = torch.full((12, 10), 0.02).scatter_(1, y[:, None], 0.82)  # 0.8 for the class, 0.2 over all ten
    expected = -(target * net(X).log_softmax(1)).sum(1).mean().item()
    run = modern.train_modern(net, batches, 1, 0.1, label_smoothing=0.2)
    assert run.train_loss == pytest.approx([expected])


def test_the_schedule_rises_to_the_peak_and_ends_at_zero():
    assert [modern.warm_up_and_cosine(step, 2, warm_up=1.0) for step in range(3)] == [0, 0.5, 1]
    rates = [modern.warm_up_and_cosine(step, 50) for step in range(51)]
    assert rates[0] == rates[-1] == 0 and max(rates) == rates[10] == 1
    assert rates[:11] == sorted(rates[:11]) and rates[10:] == sorted(rates[10:], reverse=True)


def test_training_follows_the_schedule():
    run = modern.train_modern(tiny_net(), small_batches(), 4, 0.5, schedule=True)
    assert run.lr == pytest.approx([0.5 * modern.warm_up_and_cosine(3 * epoch, 12) for epoch in (1, 2, 3, 4)])
    assert run.lr[-1] == 0
    assert modern.train_modern(tiny_net(), small_batches(), 2, 0.5).lr == [0.5, 0.5]


def weights_after_each_step(net, monkeypatch):
    seen = []
    step = modern.Nesterov.step
    monkeypatch.setattr(modern.Nesterov, "step", lambda self: (step(self), seen.append(weights(net)))[0])
    return seen


def test_averaged_weights_are_the_mean_of_the_last_ones(monkeypatch):
    net = tiny_net()
    seen = weights_after_each_step(net, monkeypatch)
    modern.train_modern(net, small_batches(), 4, 0.5, average=0.5)
    assert len(seen) == 12
    assert torch.allclose(weights(net), torch.stack(seen[6:]).mean(0), atol=1e-6)
    assert not torch.allclose(weights(net), seen[-1], atol=1e-4)


def test_batch_norm_is_measured_anew_for_averaged_weights():
    net, batches = modern.modern_lenet((2, 2, 2, 2)), small_batches(shuffle=False)
    modern.train_modern(net, batches, 2, 0.1, average=0.5)
    means = [net[1](d2l.Reshape()(X)) for X, _ in batches]  # what goes into the first pooling and normalisation
    expected = torch.stack([F.max_pool2d(maps, 2).mean((0, 2, 3)) for maps in means]).mean(0)
    assert torch.allclose(net[3].running_mean, expected, atol=1e-6)


def test_augmentation_reaches_the_network_in_training_only():
    seen = []
    net, batches = tiny_net(), small_batches()
    net.eval()  # as somebody may hand it in
    net.register_forward_pre_hook(lambda net, inputs: seen.append((net.training, inputs[0].abs().sum() > 0)))
    modern.train_modern(net, batches, 1, 0.1, batches, augmentation=torch.zeros_like)
    assert seen == [(True, False)] * 3 + [(False, True)] * 3


def test_bfloat16_is_for_the_layers_and_not_for_the_weights():
    net, batches = tiny_net(), small_batches()
    seen = []
    net[2].register_forward_hook(lambda layer, inputs, output: seen.append(output.dtype))
    modern.train_modern(net, batches, 1, 0.1, bfloat16=True)
    modern.train_modern(net, batches, 1, 0.1)
    assert seen == [torch.bfloat16] * 3 + [torch.float32] * 3
    assert {p.dtype for p in net.parameters()} == {torch.float32}


def test_weights_start_afresh_only_when_asked():
    net, batches = tiny_net(), small_batches()
    nn.init.constant_(net[2].weight, 7.0)
    modern.train_modern(net, batches, 1, 0.0)
    assert net[2].weight.mean() == 7
    modern.train_modern(net, batches, 1, 0.0, init_weights=modern.init_he)
    assert abs(net[2].weight.mean()) < 1


def test_the_seed_repeats_a_run_with_everything_switched_on():
    parts = {
        "init_weights": modern.init_he, "momentum": 0.9, "schedule": True, "weight_decay": 5e-4,
        "augmentation": modern.mirror, "label_smoothing": 0.1, "average": 0.5, "bfloat16": True,
    }  # fmt: skip
    ends = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        net = modern.modern_lenet((2, 3, 4, 5))
        run = modern.train_modern(net, small_batches(), 2, 0.1, small_batches(shuffle=False), **parts)
        ends.append((run.train_loss, run.val_acc, weights(net)))
    assert ends[0][:2] == ends[1][:2] and torch.equal(ends[0][2], ends[1][2])
    assert not torch.equal(ends[0][2], ends[2][2])


def test_a_run_has_an_entry_an_epoch():
    batches = small_batches()
    run = modern.train_modern(tiny_net(), batches, 3, 0.1, batches)
    assert [len(values) for values in vars(run).values()] == [3, 3, 3, 3]
    assert modern.train_modern(tiny_net(), batches, 3, 0.1).val_acc == []


def test_a_modern_network_learns():
    torch.manual_seed(0)
    batches = small_batches(n=256, batch_size=32)
    net = modern.modern_lenet((8, 8, 8, 8))
    run = modern.train_modern(net, batches, 15, 0.2, batches, momentum=0.9, schedule=True)
    assert run.val_acc[-1] > 0.7 and run.train_loss[-1] < 0.7 * run.train_loss[0]


# what is refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_epochs": 0}, "expected num_epochs to be a whole number of at least 1, got 0"),
        ({"lr": -1}, "expected lr"),
        ({"label_smoothing": 1}, "expected label_smoothing to be a fraction from 0 up to, but not, 1, got 1"),
        ({"average": -0.1}, "expected average to be a fraction"),
        ({"momentum": False}, "expected momentum to be a fraction from 0 up to, but not, 1, got False"),
        ({"momentum": "0.9"}, "expected momentum to be a fraction from 0 up to, but not, 1, got '0.9'"),
        ({"weight_decay": -1}, "expected weight_decay to be a fraction"),
        ({"schedule": "no"}, "expected schedule to be True or False, got 'no'"),
        ({"bfloat16": None}, "expected bfloat16 to be True or False, got None"),
        ({"lr": True}, "expected lr, the learning rate, to be a number from 0 up, e.g. 0.9, got True"),
        ({"device": "abacus"}, "expected a device that this machine has"),
        ({"init_weights": "he"}, "expected init_weights to be a function of a layer, or None, got 'he'"),
        ({"augmentation": "mirror"}, "expected augmentation to be a function of images, or None, got 'mirror'"),
        ({"val_iter": []}, "expected val_iter to give at least one batch"),
    ],
)
def test_arguments_that_cannot_work_change_nothing(change, message):
    net = tiny_net()
    before = weights(net)
    arguments = {"num_epochs": 1, "lr": 0.1, "init_weights": modern.init_he} | change
    with pytest.raises(ValueError, match=message):
        modern.train_modern(net, small_batches(), **arguments)
    assert torch.equal(weights(net), before)


IMAGES, LABELS = torch.rand(2, 1, 28, 28), torch.tensor([1, 2])


@pytest.mark.parametrize(("batch", "message"), [
    ((IMAGES, torch.tensor([1, -100])), "labels from 0 to 9"),
    ((IMAGES, torch.tensor([1, 10])), "labels from 0 to 9"),
    ((IMAGES.mul(255).byte(), LABELS), "got torch.uint8: divide bytes by 255"),
    ((IMAGES, LABELS.float()), "labels y of type torch.int64"),
    ((IMAGES[:1], LABELS), "as many images as labels"),
    ((IMAGES, LABELS, LABELS), "train_iter to give batches, pairs"),
])  # fmt: skip
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_batches_that_cannot_work_do_not_reach_the_weights(batch, message, label_smoothing):
    net, loader = tiny_net(), torch.utils.data.DataLoader([batch], batch_size=None)
    before = weights(net)
    with pytest.raises(ValueError, match=message):
        modern.train_modern(net, loader, 1, 0.1, label_smoothing=label_smoothing)
    assert torch.equal(weights(net), before)


class Announced(list):
    """Batches that announce more than they are."""

    def __len__(self):
        return 10


def test_a_mean_of_steps_that_never_came_is_refused():
    net = tiny_net()
    before = weights(net)
    with pytest.raises(ValueError, match=r"train_iter to give 10 batches an epoch, as its len\(\) says, got 3, so the"):
        modern.train_modern(net, Announced(small_batches()), 2, 0.1, average=0.2)
    assert not torch.equal(weights(net), before)  # what was learned is not thrown away


def test_a_mean_of_fewer_steps_than_announced_is_one(monkeypatch):
    """Of 20 steps that are announced, 2 come before those that are averaged, and 4 of these come."""
    net = tiny_net()
    seen = weights_after_each_step(net, monkeypatch)
    modern.train_modern(net, Announced(small_batches()), 2, 0.1, average=0.88)
    assert len(seen) == 6
    assert torch.allclose(weights(net), torch.stack(seen[2:]).mean(0), atol=1e-6)


def test_seconds_are_those_of_training_with_loading_and_without_the_validation(clock):
    train_iter, val_iter = clock.slow(small_batches(), 2.0), clock.slow(small_batches(), 50.0)
    run = modern.train_modern(tiny_net(), train_iter, 2, 0.1, val_iter)
    assert run.seconds == [6.0, 6.0]


def test_the_net_comes_back_ready_to_predict():
    net = modern.modern_lenet((2, 2, 2, 2))
    modern.train_modern(net, small_batches(), 1, 0.1, average=0.5)
    assert not any(module.training for module in net.modules())
    with pytest.raises(d2l.Diverged):
        modern.train_modern(net, small_batches(), 1, 1e38)
    assert not any(module.training for module in net.modules())


def test_after_a_stop_the_net_is_ready_to_predict():
    def stop(X):
        raise KeyboardInterrupt

    net = tiny_net()
    with pytest.raises(KeyboardInterrupt):
        modern.train_modern(net, small_batches(), 1, 0.1, augmentation=stop)
    assert not any(module.training for module in net.modules())


def test_a_pass_without_batches_is_told():
    class Once(list):
        def __iter__(self):
            yield from [self.pop()] if super().__len__() > 1 else []

    with pytest.raises(ValueError, match="train_iter to give batches in every epoch, got none in epoch 2"):
        modern.train_modern(tiny_net(), Once([*small_batches()][:2]), 2, 0.1)


def test_a_net_that_cannot_be_copied_is_trained():
    net = tiny_net()
    net.kept = net(torch.rand(1, 1, 28, 28))  # has a graph behind it, and PyTorch copies no such tensor
    modern.train_modern(net, small_batches(), 1, 0.1)


def test_numbers_of_other_libraries_count_as_numbers():
    """127 is all that NumPy's smallest whole numbers reach."""
    run = modern.train_modern(tiny_net(), small_batches(400), np.int8(2), Fraction(1, 10), schedule=True)
    assert run.lr[-1] == pytest.approx(0)


def test_a_loss_that_is_no_number_is_told():
    with pytest.raises(d2l.Diverged, match=r"in epoch 1, batch \d of 3.* try a learning rate ten times smaller"):
        modern.train_modern(tiny_net(), small_batches(), 1, 1e38)


def test_its_history_holds_the_epochs_before(monkeypatch):
    net = tiny_net()

    class Spoilt:
        passes = 0

        def __len__(self):
            return len(small_batches())

        def __iter__(self):
            self.passes += 1
            yield from ((X * (math.nan if self.passes == 3 else 1), y) for X, y in small_batches())

    with pytest.raises(d2l.Diverged, match="in epoch 3") as caught:
        modern.train_modern(net, Spoilt(), 4, 0.01)
    assert len(caught.value.history.train_loss) == 2


def test_the_loss_is_a_mean_over_images_not_over_batches():
    torch.manual_seed(0)
    net, batches = tiny_net(), [(torch.rand(n, 1, 28, 28), torch.randint(10, (n,))) for n in (30, 2)]
    run = modern.train_modern(net, batches, 1, 0.0)
    net.train()
    sums = [nn.functional.cross_entropy(net(X), y, reduction="sum").item() for X, y in batches]
    assert run.train_loss[0] == pytest.approx(sum(sums) / 32, rel=1e-5)
    assert run.train_loss[0] != pytest.approx((sums[0] / 30 + sums[1] / 2) / 2, rel=1e-5)


@pytest.mark.parametrize(("momentum", "weight_decay"), [(0.0, 0.0), (0.9, 0.0), (0.0, 0.01), (0.9, 0.01)])
def test_nesterov_is_pytorchs(momentum, weight_decay):
    torch.manual_seed(0)
    ours = modern.lenet_with(nn.ReLU)
    theirs = copy.deepcopy(ours)
    steps = (
        modern.Nesterov(ours.parameters(), 0.1, momentum, weight_decay),
        torch.optim.SGD(theirs.parameters(), 0.1, momentum, weight_decay=weight_decay, nesterov=momentum > 0),
    )
    for _ in range(4):
        X, y = torch.rand(8, 1, 28, 28), torch.randint(10, (8,))
        for net, optimizer in zip((ours, theirs), steps):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(X), y).backward()
            optimizer.step()
    for p, q in zip(ours.parameters(), theirs.parameters()):
        assert torch.allclose(p, q, rtol=1e-6, atol=1e-8)
