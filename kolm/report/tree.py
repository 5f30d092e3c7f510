"""The module tree of a report: parameters gathered under the modules that hold them."""

from dataclasses import dataclass, field

from kolm.modules import ModuleManifest, Parameter


@dataclass
class Branch:
    """One module with everything below it."""

    name: str
    elements: int = 0
    trained: int = 0
    gradients: int = 0
    """Trained parameters that received a gradient."""
    parameters: int = 0
    children: dict[str, "Branch"] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """`frozen`, `trained`, or `mixed`."""
        return "frozen" if not self.trained else "trained" if self.trained == self.elements else "mixed"

    @property
    def below(self) -> list["Branch"]:
        """The branches below; a chain of single children is one branch."""
        return list(self.children.values())


def module_tree(manifest: ModuleManifest, *, depth: int = 5) -> list[Branch]:
    """Return the tree of all parameters, `depth` names deep; layers that are alike stand side by side."""
    root = Branch("")
    for parameter in manifest.parameters:
        _plant(root, parameter, depth=depth)
    return root.below


def _plant(root: Branch, parameter: Parameter, *, depth: int) -> None:
    branch = root
    for name in parameter.name.split(".")[:depth]:
        branch = branch.children.setdefault(name, Branch(name))
        branch.elements += parameter.elements
        branch.parameters += 1
        if parameter.state == "trainable":
            branch.trained += parameter.elements
            branch.gradients += parameter.gradient is not None and parameter.gradient.seen
