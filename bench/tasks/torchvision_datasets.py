"""torchvision's data sets, which download what is not there."""

from typing import Any


def torchvision_datasets(missing: str, cure: str) -> Any:
    """The module; SystemExit with what is missing, and what to do, where it cannot be imported."""
    try:
        # Only here: torchvision's compiled part does not load beside every build of torch.
        from torchvision import datasets
    except (ImportError, RuntimeError, OSError) as error:
        raise SystemExit(
            f"{missing}, and torchvision, which would download it, cannot be imported ({error}).\n"
            f"{cure}"
        ) from error
    return datasets
