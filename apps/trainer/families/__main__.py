"""Print the module tree of a base, built on the meta device: no weights are read."""

import sys
from pathlib import Path

from apps.trainer.bases import find_base
from apps.trainer.load import meta_model


def main(directory: str) -> None:
    """Print every module that holds parameters, down to three levels, with its parameter count."""
    model = meta_model(find_base(Path(directory), model=directory, weights=False))
    for name, module in model.named_modules():
        count = sum(p.numel() for p in module.parameters())
        if count and name.count(".") < 3:
            sys.stdout.write(f"{count:>16,}  {name or '(model)'}  {type(module).__name__}\n")


if __name__ == "__main__":
    main(sys.argv[1])
