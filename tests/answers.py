"""What the answers in `tests/exercises/` are made with: `but(SOLUTION, ("+ 1", ""))` is one that is wrong."""


def but(code, *changes):
    """`code` with pieces replaced: (old, new), (old, new), ..."""
    for old, new in changes:
        assert old in code, old
        code = code.replace(old, new)
    return code
