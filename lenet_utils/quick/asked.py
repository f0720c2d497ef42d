"""When the quicker ways may be taken: they give values and gradients, and those who ask for more get PyTorch's."""

import torch
from torch.autograd import forward_ad


def for_more_than_gradients():
    """Whether a compiler looks on, which has ways of its own; or `torch.func`; or derivatives are computed forward."""
    in_function = getattr(torch._C, "_are_functorch_transforms_active", bool)  # bool() is False
    is_compiled = torch.compiler.is_compiling() or torch.jit.is_tracing()
    return is_compiled or in_function() or getattr(forward_ad, "_current_level", -1) >= 0


def for_second_derivatives():
    """Within a backward pass: whether its own operations will be differentiated, by `create_graph=True`."""
    return torch.is_grad_enabled()
