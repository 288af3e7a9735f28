"""What `torch.vmap` makes of a draw: its `randomness` decides, as for torch's own random operators.

All operators run once for each entry of the batch. A draw with a seed, and "topk", are not random.
"""

from typing import Any

import torch
from torch import Tensor
from torch._C import DispatchKey, DispatchKeySet, _ExcludeDispatchKeyGuard
from torch._functorch.pyfunctorch import retrieve_current_functorch_interpreter

import impsamp_fast._extension  # noqa: F401 (defines the operators)

_VMAP_MODE = DispatchKeySet(DispatchKey.FuncTorchVmapMode)


def _mapped(
    source: Tensor,
    method: str,
    seed: int | None,
    generator: torch.Generator | None,
    device_seed: Tensor | None,
) -> tuple[Tensor, int | None, torch.Generator | None]:
    """The weights or logits, the seed and the generator that each entry draws by."""
    if seed is not None or device_seed is not None or method == "topk":
        return source, seed, generator
    vmap: Any = retrieve_current_functorch_interpreter()
    match vmap.randomness():
        case "error":
            raise RuntimeError(
                'a draw without a seed is random, but vmap has randomness="error"; pass a seed, '
                'or randomness="different" or "same" to vmap'
            )
        case "same":
            if source.device.type != "cpu":
                raise ValueError(
                    f'seed is None, but a draw on {source.device} under vmap with randomness="same"'
                    " needs one"
                )
            chosen = torch.randint(-(2**63), 2**63 - 1, (), generator=generator)
            return source, int(chosen), None
    bdim = torch._C._functorch.maybe_get_bdim(source)
    if bdim < 0 or torch._C._functorch.maybe_get_level(source) != vmap.level():
        copies = source.expand(vmap.batch_size(), *source.shape)
        source = torch._C._functorch._add_batch_dim(copies, 0, vmap.level())
    return source, seed, generator


def _draw(
    weights: Tensor,
    n: int,
    method: str = "multinomial",
    seed: int | None = None,
    generator: torch.Generator | None = None,
    device_seed: Tensor | None = None,
) -> Any:
    with _ExcludeDispatchKeyGuard(_VMAP_MODE):
        weights, seed, generator = _mapped(weights, method, seed, generator, device_seed)
        return torch.ops.impsamp_fast.draw.default(weights, n, method, seed, generator, device_seed)


def _select(
    logits: Tensor,
    target: Tensor,
    n: int,
    score: str = "grad_norm",
    method: str = "multinomial",
    correction: str = "unbiased",
    exponent: float | None = None,
    features: Tensor | None = None,
    smoothing: float = 0.0,
    seed: int | None = None,
    generator: torch.Generator | None = None,
    device_seed: Tensor | None = None,
    *options: Any,
    **named_options: Any,
) -> Any:
    with _ExcludeDispatchKeyGuard(_VMAP_MODE):
        logits, seed, generator = _mapped(logits, method, seed, generator, device_seed)
        scored = (logits, target, n, score, method, correction, exponent, features, smoothing)
        return torch.ops.impsamp_fast.select.default(
            *scored, seed, generator, device_seed, *options, **named_options
        )


torch.library.impl("impsamp_fast::draw", "FuncTorchVmapMode", _draw)
torch.library.impl("impsamp_fast::select", "FuncTorchVmapMode", _select)
