"""What notebook 6 measures with."""

import time

import pytest
import torch
from torch import nn

from lenet_utils import ladder, layer_table, lenet
from lenet_utils.data import Batches
from lenet_utils.quick.pooling import HalveByMean

IMAGES, LABELS = torch.randint(0, 256, (20, 28, 28), dtype=torch.uint8), torch.arange(20) % 10


def test_versions_take_turns_after_a_round_that_is_not_measured():
    calls = []
    seconds = ladder.race({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3)
    assert calls == ["a", "b"] * 4
    assert [len(times) for times in seconds.values()] == [3, 3]


def test_the_speedup_is_the_median_of_the_rounds_ratios():
    assert ladder.speedup([2, 6, 800], [1, 2, 4]) == 3


def test_laps_add_up(monkeypatch):
    now = iter([10.0, 11.0, 13.0, 16.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    laps = ladder.Laps()
    for name in ("load", "step", "load"):
        laps.end(name)
    assert laps == {"load": 4.0, "step": 2.0}


def test_every_layer_is_timed():
    seconds = ladder.time_layers(lenet(), torch.rand(2, 1, 28, 28), rounds=1)
    assert list(seconds)[:3] == ["0 Reshape", "1 Conv2d", "2 Sigmoid"] and len(seconds) == 13
    assert all(s > 0 for s in seconds.values())


def test_the_pixels_get_no_gradient():
    class Watched(nn.Conv2d):
        def forward(self, X):
            wanted.append((self, X.requires_grad))
            return super().forward(X)

    wanted = []
    net = nn.Sequential(nn.Identity(), Watched(1, 1, 3), Watched(1, 1, 3))
    ladder.time_layers(net, torch.rand(1, 1, 9, 9), rounds=1)
    assert set(wanted) == {(net[1], False), (net[2], True)}


def test_the_layers_take_turns():
    class Watched(nn.Identity):
        def forward(self, X):
            calls.append(self)
            return X

    calls, net = [], nn.Sequential(Watched(), Watched(), Watched())
    ladder.time_layers(net, torch.rand(1, 1, 9, 9), rounds=2)
    assert calls == list(net) * 4  # once for the inputs, once unmeasured, and two rounds


def test_the_toy_works_while_python_goes_on():
    gpu = ladder.ToyGPU()
    begin = time.perf_counter()
    for _ in range(4):
        gpu.run(0.01)
    assert gpu.jobs == 4 and gpu.done_at >= begin + 0.04
    gpu.wait()
    assert time.perf_counter() >= begin + 0.04
    gpu.wait()  # at once


def test_one_by_one_hands_out_what_batches_does():
    X, y = next(iter(Batches(IMAGES, LABELS, 20)))
    pictures, labels = zip(*ladder.OneByOne(IMAGES, LABELS))
    assert torch.equal(torch.stack(pictures), X) and list(labels) == y.tolist()


SWITCHES = [{"wait": True}, {"quick": True}, {"channels_last": True}]


@pytest.mark.parametrize("switches", SWITCHES, ids=lambda switches: next(iter(switches)))
def test_the_rungs_learn_the_same(switches):
    batches = Batches(IMAGES, LABELS, 8)
    plain, other = ladder.rung(batches), ladder.rung(batches, **switches)
    for _ in range(3):
        assert other() == pytest.approx(plain(), abs=1e-5)


def test_the_waiting_rung_reads_the_loss_of_every_batch(monkeypatch):
    read, item = [], torch.Tensor.item
    monkeypatch.setattr(torch.Tensor, "item", lambda self: read.append(self) or item(self))
    for wait in (False, True):
        train_pass = ladder.rung(Batches(IMAGES, LABELS, 8), wait=wait)
        read.clear()
        train_pass()
        assert len(read) == (3 if wait else 0)


def test_the_rung_with_the_channels_last_has_them_there(monkeypatch):
    net = ladder.fresh_lenet()
    monkeypatch.setattr(ladder, "fresh_lenet", lambda: net)
    for channels_last in (False, True):
        ladder.rung(Batches(IMAGES, LABELS, 8), channels_last=channels_last)
        assert net[4].weight.stride()[1] == (1 if channels_last else 25)


def test_the_rung_with_short_numbers_has_short_ones(monkeypatch):
    net, types = ladder.fresh_lenet(), []
    net[1].register_forward_hook(lambda *given: types.append(given[-1].dtype))
    monkeypatch.setattr(ladder, "fresh_lenet", lambda: net)
    for bfloat16 in (False, True):
        ladder.rung(Batches(IMAGES, LABELS, 20), bfloat16=bfloat16)()
    assert types == [torch.float32, torch.bfloat16]


def test_the_quick_rung_takes_the_quick_way(monkeypatch):
    calls, apply = [], HalveByMean.apply
    monkeypatch.setattr(HalveByMean, "apply", lambda X: calls.append(len(X)) or apply(X))
    train_pass = ladder.rung(Batches(IMAGES, LABELS, 8), quick=True)
    for _ in range(2):
        train_pass()
    assert sum(calls) == 2 * 2 * len(IMAGES)  # two passes, two poolings


def test_short_numbers_learn_nearly_the_same():
    batches = Batches(IMAGES, LABELS, 8)
    assert ladder.rung(batches, bfloat16=True)() == pytest.approx(ladder.rung(batches)(), abs=0.02)


@pytest.mark.skipif(bool(ladder.why_not_fused()), reason="the fused step needs a C compiler")
def test_the_fused_rung_learns_the_same():
    batches = Batches(IMAGES, LABELS, 8)
    assert ladder.fused_rung(batches)() == pytest.approx(ladder.rung(batches)(), abs=1e-5)


def test_the_recorded_rung_learns_the_same():
    batches = Batches(IMAGES, LABELS, 8)
    recorded, plain = ladder.recorded_rung(batches), ladder.rung(batches)
    for _ in range(3):
        assert recorded() == pytest.approx(plain(), abs=1e-6)


def test_a_rung_on_another_device_moves_there():
    """On "meta", whose tensors have no values, all goes well until the loss is read."""
    with pytest.raises(RuntimeError, match="meta"):
        ladder.rung(Batches(IMAGES, LABELS, 8), device="meta")()


def test_a_rung_leaves_the_random_state_alone():
    before = torch.get_rng_state()
    ladder.rung(Batches(IMAGES, LABELS, 8))
    assert torch.equal(torch.get_rng_state(), before)


def test_d2l_gets_its_animator_back(book):
    before = book.Animator
    ladder.d2l_rung(Batches(IMAGES, LABELS, 4))()
    assert book.Animator is before


def test_flop_of_a_step_as_pytorch_counts_them():
    from torch.utils.flop_counter import FlopCounterMode

    net, counter = lenet(), FlopCounterMode(display=False)
    with counter:
        nn.functional.cross_entropy(net(torch.rand(3, 1, 28, 28)), LABELS[:3]).backward()
    assert counter.get_total_flops() == 3 * ladder.step_flops(layer_table(net))


def test_bytes_of_a_small_network():
    table = layer_table(nn.Sequential(nn.Linear(4, 3), nn.Sigmoid(), nn.Flatten()), (1, 4))
    assert ladder.step_bytes(table) == 5 * 4 * (3 + 3)
    assert ladder.step_bytes(table, size=2) == 5 * 2 * (3 + 3)


def test_limits_are_positive():
    assert ladder.measure_flops(64, 1) > 0 and ladder.measure_bandwidth(1000, 1) > 0


def test_bandwidth_counts_what_is_read_and_what_is_written(monkeypatch):
    monkeypatch.setattr(ladder, "race", lambda ways, rounds: {"copy": [2.0, 1.0]})
    assert ladder.measure_bandwidth(1000) == 2 * 4 * 1000 / 1.0


def test_layers_are_timed_in_any_network(monkeypatch):
    """Backward, too, wherever the first layer with weights stands; and the network's own gradients stay."""
    timed = []
    monkeypatch.setattr(ladder, "race", lambda ways, rounds: timed.extend(w.args for w in ways.values()) or {})
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sigmoid(), nn.Flatten(), nn.Linear(98, 2))
    ladder.time_layers(net, torch.rand(2, 1, 9, 9))
    assert [X.requires_grad for _, X, _ in timed] == [False, True, True, True]
    gradients = [torch.ones_like(p) for p in net.parameters()]
    for p, gradient in zip(net.parameters(), gradients):
        p.grad = gradient.clone()
    with ladder.gradients_kept(net):
        for layer, X, gradient in timed * 2:
            ladder.forward_and_backward(layer, X, gradient)
            assert X.grad is None or X.grad.shape == X.shape
        once = timed[-1][1].grad.clone()
        ladder.forward_and_backward(*timed[-1])
        assert torch.equal(timed[-1][1].grad, once)  # not added to
    assert all(torch.equal(p.grad, gradient) for p, gradient in zip(net.parameters(), gradients))


@pytest.mark.parametrize("quicker", ["mm", "conv2d"])
def test_the_better_of_two_libraries_is_the_limit(quicker, monkeypatch):
    monkeypatch.setattr(ladder, "race", lambda ways, rounds: {way: [2.0 - (way == quicker), 4.0] for way in ways})
    assert ladder.measure_flops(64) == 2 * 256 * 64 * 64 / 1.0


def test_both_libraries_multiply_the_same_tables(monkeypatch):
    results = []
    monkeypatch.setattr(ladder, "race", lambda ways, rounds: results.extend(way() for way in ways.values()) or {0: [1]})
    ladder.measure_flops(32)
    product, maps = results[:2]
    torch.testing.assert_close(maps.reshape(32, 128).T, product)


def test_the_pictures():
    from matplotlib import pyplot as plt

    shares = ladder.draw_shares({"time": {"a": 1.0, "b": 3.0}, "work": {"a": 0, "b": 5}}, "shares")
    assert [bar.get_width() for bar in shares.patches] == [25, 75, 0, 100]
    assert [label.get_text() for label in shares.get_yticklabels()] == ["a", "b"]
    assert shares.figure.alt_text == (
        "shares. a: 25% of the time, 0% of the work; b: 75% of the time, 100% of the work"
    )
    assert [bar.get_width() for bar in ladder.draw_shares({"waits": {"a": 0.0}}, "none").patches] == [0]
    bars = ladder.draw_ladder({"slow": 10.0, "quick": 30.0}, 100.0, "ladder")
    assert [bar.get_width() for bar in bars.patches] == [10, 30] and bars.lines[0].get_xdata() == [100, 100]
    assert "slow: 10; quick: 30; the limit: 100" in bars.figure.alt_text
    points = {f"rung {i}": (4.0, 8e9) for i in range(9)}
    roof = ladder.draw_roofline(points, flops=200e9, bandwidth=20e9, title="roof")
    assert len(roof.lines) == 1 + 9 and "rung 8: 4 flop a byte, 8 billion a second" in roof.figure.alt_text
    assert list(roof.lines[0].get_ydata()) == [10, 200, 200]  # billions: 0.5 flop a byte, the corner, far right
    plt.close("all")


def test_the_first_rung_is_on_top():
    assert ladder.draw_ladder({"slow": 10.0, "quick": 30.0}, 100.0, "ladder").yaxis_inverted()
