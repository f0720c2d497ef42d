"""Wrong answers to the exercises of notebook 6."""

from answers import but


def lying_clock(lines):
    return "def lying_clock(gpu):\n    start = time.perf_counter()\n" + "".join(f"    {line}\n" for line in lines)


def a_pass(step, end, loop="optimizer.zero_grad(); loss.backward(); optimizer.step()"):
    return f"""
def pass_without_waits(net, batches, optimizer):
    total, seen = 0, 0
    for X, y in batches:
        loss = F.cross_entropy(net(X), y)
        {loop}
        {step}
        seen += len(y)
    {end}
"""


def stopwatch(body):
    return f"""
def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def how_much_faster(slow, fast, rounds):
    {body}
"""


def conv_flop(result, padding="conv.padding", stride="conv.stride"):
    return f"""
def conv_flop(conv, height, width):
    (kh, kw), (sh, sw), (ph, pw) = conv.kernel_size, {stride}, {padding}
    rows = (height + 2 * ph - kh) // sh + 1
    columns = (width + 2 * pw - kw) // sw + 1
    places = conv.out_channels * rows * columns
    {result}
"""


ROUNDED = conv_flop("return 2 * places * conv.in_channels * kh * kw").replace("// s", "/ s")
ROUNDED = ROUNDED.replace("(height", "round((height").replace("(width", "round((width").replace(" + 1", ") + 1")
UNPADDED = "setattr(conv, 'padding', (0, 0)) or conv.padding"  # and so is the judge's, unless it has its own
TEN = "for _ in range(10): gpu.run(0.003)"
READ = "seconds = time.perf_counter() - start"
RATIOS = "[seconds(slow) / seconds(fast) for _ in range(rounds)]"

WRONG = {
    "6.1": [
        ("answer = (10, 1.33)", "has two other parts"),
        ("answer = (3.5, 1.33)", "the seconds that the epoch takes"),
        ("answer = (2.67, 1.33)", "has vanished"),
        ("answer = (0.4375, 0.75)", "would mean slower"),
        ("answer = (2.29, 4.0)", "the second one is not"),
        ("answer = (2.29, float('inf'))", "is not infinite"),
        ("answer = (2.3, 1.33)", "two decimal places"),
        ("answer = (2.3, 1.3)", "two decimal places"),
        ("answer = (2.29, 1.3)", "two decimal places"),
        ("answer = (2.28, 1.33)", "cut off"),
        ("answer = (1.9, 1.33)", "The first number is not the old time"),
        ("answer = 2.29", "two numbers in brackets"),
        ("answer = ('2.29', '1.33')", "two numbers in brackets"),
        ("answer = ('2.29', 1.33)", "two numbers in brackets"),
        ("answer = (2.29, '1.33')", "two numbers in brackets"),
        ("answer = '21'", "two numbers in brackets"),
        ("answer = (1.33, 2.29)", "the other way round"),
        ("answer = {2.29, 1.33}", "two numbers in brackets"),
        ("answer = (1.33, 4.0)", "The first number is not the old time"),
        ("answer = (2.29, 0.75)", "would mean slower"),
        ("answer = (0.44, 1.33)", "would mean slower"),
        ("answer = (2.29, 2.29)", "the second one is not"),
        ("answer = (2.29, 1.2)", "the second one is not"),
        ("answer = (float('nan'), 1.33)", "no number at all"),
        ("answer = (2.29, float('nan'))", "no number at all"),
        ("answer = (float('nan'), float('nan'))", "no number at all"),
    ],
    "6.2": [
        (lying_clock([TEN, "gpu.wait()", READ, "return seconds"]), "near the truth"),
        (lying_clock([TEN, READ, "return seconds"]), "still in the queue"),
        (lying_clock(["gpu.run(0.003)", READ, "gpu.wait()", "return seconds"]), "not ten"),
        (lying_clock([TEN.replace("0.003", "0.0003"), READ, "gpu.wait()", "return seconds"]), "shorter than 3 ms"),
        (lying_clock([TEN, "gpu.wait()", "return 0.0"]), "stands still"),
        (lying_clock([f"{TEN}; gpu.wait()", READ, "return seconds / 10"]), "between two looks"),
        (
            lying_clock(["start = time.time()", TEN, "end = time.time(); gpu.wait(); return end - start"]),
            "between two looks",
        ),
        (lying_clock([TEN, "gpu.wait()", "return 'fast'"]), "What it returns, in seconds"),
        (
            "from time import perf_counter\n\n"
            + lying_clock([TEN, READ, "gpu.wait()", "return seconds"]).replace("time.p", "p"),
            "never looks at",
        ),
        (lying_clock([TEN, READ, "gpu.wait()"]), "returns nothing"),
        (lying_clock([TEN, "gpu.wait()", "return 0.001"]), "between two looks"),
        (lying_clock(["time.perf_counter()", TEN, "gpu.wait()", "return 1e-6"]), "between two looks"),
        (lying_clock([READ, TEN, "gpu.wait()", "return seconds"]), "between two looks"),
        (lying_clock([TEN, "gpu.wait(); start = time.perf_counter()", READ, "return seconds"]), "between two looks"),
        (lying_clock([TEN, "gpu.wait(); time.perf_counter(); time.perf_counter(); return 1e-5"]), "between two looks"),
        (
            lying_clock([TEN.replace("10", "9"), READ, "gpu.run(0.003); gpu.wait(); return seconds"]),
            "between two looks",
        ),
        (
            lying_clock(
                [
                    "gpu.run(0.003); start = time.perf_counter()",
                    TEN.replace("10", "9"),
                    READ,
                    "gpu.wait()",
                    "return seconds",
                ]
            ),
            "between two looks",
        ),
        (lying_clock([TEN, "gpu.wait()", READ, "return seconds / 20"]), "between two looks"),
        (lying_clock([TEN, READ, "gpu.wait()", "return start + seconds"]), "between two looks"),
        (lying_clock([TEN, READ, "gpu.wait()", "return seconds * 10**9"]), "between two looks"),
        (lying_clock([TEN, "gpu.wait()", READ, "return 1000 * seconds"]), "between two looks"),
        (lying_clock([TEN.replace("0.003", "3"), READ, "gpu.wait()", "return seconds"]), "longer than 3 ms"),
    ],
    "6.3": [
        (a_pass("total += loss.item() * len(y)", "return total / seen"), "value 3 times"),
        (a_pass("total += loss.detach()", "return (total / len(batches)).item()"), "mean over the batches"),
        (a_pass("total += loss.detach() * len(y)", "return total / seen"), "a promise"),
        (a_pass("total += loss.detach()", "return total.item()"), "not the mean over all images"),
        (
            a_pass("total += loss.detach() * len(y)", "return (total / seen).item()", "loss.backward()"),
            "do not end where",
        ),
        (a_pass("total += loss.detach() * len(y)", "total / seen"), "returns nothing"),
        (a_pass("total += loss.detach().cpu().numpy() * len(y)", "return float(total / seen)"), "value 6 times"),
        (a_pass("total += loss.detach() * len(y)", "return (total / seen).item(), seen"), "it returns tuple"),
        (a_pass("total += loss.detach() * len(y); print(loss)", "return (total / seen).item()"), "value 4 times"),
        (a_pass("total += loss.detach().to('cpu') * len(y)", "return (total / seen).item()"), "value 4 times"),
        (a_pass("total += loss.detach().to(device='cpu') * len(y)", "return (total / seen).item()"), "value 4 times"),
        (
            a_pass(
                "total = [*(total or []), loss.detach() * len(y)]",
                "return torch.tensor(total).sum().item() / seen",
            ),
            "value 4 times",
        ),
    ],
    "6.4": [
        (stopwatch(f"slow(), fast(); return sum({RATIOS}) / rounds"), "bad moment in one round"),
        (stopwatch(f"return sorted({RATIOS})[rounds // 2]"), "is missing, or a round"),
        (stopwatch(f"slow(), fast(); rounds -= 1; return min({RATIOS})"), "is missing, or a round"),
        *(
            (stopwatch(f"{first}; return min({RATIOS})").replace("function()", "function"), "brackets behind the names")
            for first in ("pass", "slow(), fast()")
        ),
        (
            stopwatch(
                "slow(), fast(); a = [seconds(slow) for _ in range(rounds)]; b = [seconds(fast) for _ in range(rounds)]"
                "; return sorted(a)[2] / sorted(b)[2]"
            ),
            "do not take turns",
        ),
        (
            stopwatch(
                "slow(), fast(); r = sorted(1 / (seconds(slow) / seconds(fast)) for _ in range(rounds)); "
                "return (r[rounds // 2] + r[-1 - rounds // 2]) / 2"
            ),
            "turn the ratio round",
        ),
        (stopwatch(f"slow(), fast(); return min({RATIOS})"), "not the median"),
        (stopwatch(f"slow(), fast(); return 0 * len({RATIOS})"), "not the median"),
        (stopwatch(f"slow(), fast(); return sorted({RATIOS})[rounds // 2 - 1]"), "not the median"),
        (stopwatch(f"slow(), fast(); return sorted({RATIOS})[rounds // 2 if rounds % 2 else 0]"), "not the median"),
        (stopwatch(f"slow(), fast(); return 1 / (len({RATIOS}) - rounds)"), "ZeroDivisionError"),
        (
            stopwatch(
                "slow(), fast(); r = sorted(seconds(slow) - seconds(fast) for _ in range(rounds)); "
                "return (r[rounds // 2] + r[-1 - rounds // 2]) / 2"
            ),
            "a difference",
        ),
        ("how_much_faster = 2.5", "A function is asked for"),
        (stopwatch("slow(), fast(); return seconds(slow) / seconds(fast)"), "it calls `slow` 2 times"),
        (stopwatch(f"slow(), fast(); return {RATIOS}"), "should be a number"),
        (stopwatch(f"import statistics; slow(), fast(); return round(statistics.median({RATIOS}), 2)"), "for rounding"),
        (stopwatch(f"slow(), fast(); sorted({RATIOS})"), "returns nothing"),
        (stopwatch(f"slow(), fast(); return sorted({RATIOS})[rounds // 2]"), "one of them only"),
        (stopwatch(f"slow(), fast(); return min({RATIOS})").replace("perf_counter", "process_time"), "never looks at"),
        (stopwatch(f"slow(), fast(); return min({RATIOS})").replace("perf_counter", "time"), "never looks at"),
        (
            stopwatch(f"slow(), fast(); r = {RATIOS}; return (r[rounds // 2] + r[-1 - rounds // 2]) / 2"),
            "not the median",
        ),
        (
            stopwatch(
                "slow(), fast(); r = [(seconds(slow), seconds(fast)) for _ in range(rounds)]; "
                "middle = lambda x: (sorted(x)[rounds // 2] + sorted(x)[-1 - rounds // 2]) / 2; "
                "return middle([a for a, _ in r]) / middle([b for _, b in r])"
            ),
            "ratio of two medians",
        ),
        *(
            (
                stopwatch(f"slow(), fast(); pairs = [(seconds(slow), seconds(fast)) for _ in range(rounds)]; {work}"),
                "do the work",
            )
            for work in (
                'return ladder.speedup(*ladder.race({"slow": slow, "fast": fast}, rounds).values())',
                'return max(a / b for a, b in zip(*ladder.race({"slow": slow, "fast": fast}, rounds).values()))',
                "return ladder.speedup(*zip(*pairs))",
                "return len(ladder.Laps()) or max(a / b for a, b in pairs)",
            )
        ),
    ],
    "6.5": [
        (conv_flop("return places * conv.in_channels * kh * kw"), "each of them is two operations"),
        (conv_flop("return 2 * places * kh * kw"), "one of the channels below"),
        (conv_flop("return 2 * conv.weight.numel() * height * width"), "that goes in"),
        (conv_flop("return 2 * places * conv.in_channels * kh * kw + places"), "counts the bias"),
        (conv_flop("return 2 * places * (conv.in_channels * kh * kw + 1)"), "counts the bias"),
        (conv_flop("return 2 * places * conv.in_channels * kh * kw", padding="(0, 0)"), "look at the other arguments"),
        (conv_flop("return 2 * places * conv.in_channels * kh * kh"), "look at the other arguments"),
        (conv_flop("return 2 * places * conv.in_channels * kh * kw", UNPADDED), "look at the other arguments"),
        *(
            (conv_flop("return 2 * places * conv.in_channels * kh * kw", **one), "look at the other arguments")
            for one in ({"stride": "conv.stride[:1] * 2"}, {"padding": "conv.padding[:1] * 2"})
        ),
        (ROUNDED, "look at the other arguments"),
        (conv_flop("return places"), "though this one is square"),
        (conv_flop("2 * places"), "returns nothing"),
        (conv_flop("return f'{2 * places} flop'"), "should be a number"),
    ],
}

RIGHT = {
    "6.1": ["answer = [16 / 7, 4 / 3]", "answer = (2.286, 1.333)", "answer = (2.29, 1.33)"],
    "6.2": [
        lying_clock([TEN, READ, "gpu.wait()", "return round(seconds, 5)"]),
        lying_clock([TEN, READ, "gpu.wait()", "return torch.tensor(seconds, dtype=torch.float64)"]),
        lying_clock(
            [
                "seconds = time.perf_counter() - start",
                "for _ in range(10):",
                "    start = time.perf_counter(); gpu.run(0.003); seconds += time.perf_counter() - start",
                "gpu.wait(); return seconds",
            ]
        ),
        lying_clock([TEN, READ, "while time.perf_counter() < gpu.done_at: pass", "return seconds"]),
    ],
    "6.3": [
        a_pass("total += loss.detach() * len(y)", "batches.clear(); return (total / seen).item()"),
        a_pass("total += loss.detach() * len(y)", "return total.item() / torch.tensor(seen).item()"),
        but(
            a_pass("total += loss.detach() * len(y)", "return (total / seen).item()"),
            ("= 0, 0", "= torch.tensor(0.0), 0"),
        ),
        a_pass(
            "total = total + loss.detach() * len(y)",
            "return (total / seen).item()",
            "X = X.to('cpu'); optimizer.zero_grad(); loss.backward(); optimizer.step()",
        ),
    ],
    "6.4": [
        stopwatch(f"slow(), fast(); return torch.tensor({RATIOS}, dtype=torch.float64).quantile(0.5)"),
    ],
}
