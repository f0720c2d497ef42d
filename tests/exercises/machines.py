"""Wrong answers to the exercises of notebook 7."""


def average(body):
    return f"def average_gradients(grads, counts):\n    {body}"


def ring(body):
    return f"def ring_all_reduce(ring):\n    {body}"


HALF_RING = """p = ring.size
    for s in range(p - 1):
        for r in range(p):
            ring.send(r, (r - s) % p, add=True)"""
WHOLE_RING = (
    HALF_RING
    + """
    for s in range(p - 1):
        for r in range(p):
            ring.send(r, (r + 1 - s) % p, add=False)"""
)
WRONG_ORDER = """p = ring.size
    for s in range(p - 1):
        for r in range(p):
            ring.send(r, s, add=True)
    for s in range(p - 1):
        for r in range(p):
            ring.send(r, s, add=False)"""
TOO_MANY = """p = ring.size
    for part in range(p):
        for r in range(p - 1):
            ring.send(r, part, add=True)
        for r in range(p - 1, 2 * p - 2):
            ring.send(r % p, part, add=False)
        ring.send(p - 2, part, add=False)"""

UNSHARED = """p = ring.size
    for part in range(p):
        for r in range(p - 1):
            ring.send(r, part, add=True)
        for r in range(p - 1, 2 * p - 2):
            ring.send(r % p, part, add=False)"""
BY_HAND = """sums = [sum(column) for column in zip(*ring.lists)]
    for row in ring.lists:
        row[:] = sums"""

WRONG = {
    "7.1": [
        ("sent = 61_706", "how many gradients"),
        ("sent = 246_824", "one process take"),
        ("sent = 2 * 246_824", "twice all gradients"),
        ("sent = 185_118", "not yet the others"),
        ("sent = 4 * 370_236", "all four send together"),
        ("sent = 1000", "some other number"),
        ("sent = 400_000", "some other number"),
        ("sent = '370236'", "should be a number"),
    ],
    "7.2": [
        ("sizes = (128, 128)", "equal shares"),
        ("sizes = (100, 156)", "1.6 times as much"),
        ("sizes = (1, 253)", "yours have 254"),
        ("sizes = (0, 256)", "at least one"),
        ("sizes = 256", "Two sizes"),
        ("sizes = (0.5, 255.5)", "at least one"),
        ("sizes = (1.5, 254.5)", "at least one"),
        ("sizes = (1, 1, 254)", "Two sizes"),
        ("sizes = ('1', 255)", "Each size should be a number"),
    ],
    "7.3": [
        (average("return sum(grads) / len(grads)"), "plain mean"),
        (average("return sum(g * n for g, n in zip(grads, counts))"), "not the mean"),
        (average("return sum(grads)"), "adds the means up"),
        (average("return sum(g / n for g, n in zip(grads, counts))"), "another gradient"),
        (
            average("for g, n in zip(grads, counts): g *= n\n    return sum(grads) / sum(counts)"),
            "changes the gradients",
        ),
        (
            average(
                """total = grads[0].mul_(counts[0])
    for g, n in zip(grads[1:], counts[1:]):
        total += n * g
    return total / sum(counts)"""
            ),
            "changes the gradients",
        ),
        (average("return grads"), "one tensor"),
        (average("return sum(n * g[None] for g, n in zip(grads, counts)) / sum(counts)"), "one tensor"),
        *(
            (
                average(f"return sum(g * n for g, n in zip(grads, counts)) / sum(counts) if all(counts) else {other}"),
                "With an empty share",
            )
            for other in ("0", "grads[-1]", "grads[0][:1]")
        ),
        (average("sum(grads)"), "returns nothing"),
    ],
    "7.4": [
        (ring("pass\n    return None"), "none has anything else"),
        (ring(WHOLE_RING.replace("range(p - 1)", "range(p - 2)")), "have the right sum"),
        (ring(WHOLE_RING.replace("range(p - 1)", "range(2)")), "With 2 processes, the sums are right"),
        (ring(HALF_RING), "in one process only"),
        (ring(WRONG_ORDER), "have the right sum"),
        (ring(UNSHARED.replace("for part in range(p)", "for part in range(1)")), "have the right sum"),
        (ring(TOO_MANY), "With 3 processes, the sums are right, after"),
        ("ring_all_reduce = 'ring'", "A function is asked for"),
        (ring(UNSHARED), "is not shared"),
        (ring(WHOLE_RING.replace("p = ring.size", "p = 3")), "IndexError"),
        (ring(BY_HAND), "writes into"),
        (ring("ring.lists = ring.sent = [[sum(column) for column in zip(*ring.lists)]] * ring.size"), "writes into"),
        (ring("ring.send(0, ring.size, add=True)"), "IndexError"),
    ],
    "7.5": [
        ("my_lines = 'training on cpu with 3 processes'", "one text"),
        ("my_lines = ['torchrun: not found']", "never came so far"),
        ("my_lines = ['training on cpu with 2 processes', 'loss 1.0, train acc 0.5']", "not with three"),
        ("my_lines = ['training on cpu with 3 processes', 'epoch 0.2']", "come to its end"),
        ("my_lines = 3", "of the type `int`"),
        ("my_lines = (line for line in ['training on cpu with 3 processes', 'loss 1.0'])", "only once"),
        ("my_lines = launch.Torchrun(3, '--images=3000')", "the launcher"),
        *(
            (f"my_lines = ['training on cpu with 3 processes', {epochs}, 'loss 1.0, train']", "to be one epoch")
            for epochs in ("'epoch 1.40, train'", "'epoch 1.00, train', 'epoch 2.00, train'")
        ),
    ],
}

RIGHT = {
    "7.1": [f"sent = {bytes}" for bytes in (370_224, 370_232, 370_240, 370_248)],
    "7.2": [
        "import numpy as np\n\nsizes = np.array([1, 255])",
        "sizes = torch.tensor([255, 1])",
        "sizes = 1.0, torch.tensor(255)",
    ],
    "7.3": [
        average(
            """total, images = 0, 0
    while grads:
        g, n = grads.pop(), counts.pop()
        total, images = total + g * n, images + n
    return total / images"""
        ),
        average("return sum(g.double() * n for g, n in zip(grads, counts)) / sum(counts)"),
    ],
    "7.4": [
        ring(WHOLE_RING.replace(", add=True", "")),
        ring(WHOLE_RING.replace("send(r, (", "send(r=r, part=(")),
        ring(WHOLE_RING + "\n    return ring.lists"),
    ],
    "7.5": ["my_lines = ['training on cpu with 3 processes', 'epoch 0.20, t', 'epoch 1.00, t', 'loss 1.0, train']"],
}
