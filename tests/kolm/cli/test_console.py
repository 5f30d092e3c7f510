import pytest

from kolm.cli.console import require_extra
from kolm.errors import RegistryError, TrainError


def test_a_package_that_is_there_is_enough():
    require_extra("pathlib", "train")


@pytest.mark.parametrize("kind", [TrainError, RegistryError])
def test_a_missing_package_is_named_with_what_installs_it(kind: type[TrainError] | type[RegistryError]):
    with pytest.raises(kind, match="needs nothing_like_this, which is not installed") as caught:
        require_extra("nothing_like_this", "train", error=kind)
    assert caught.value.hint == "pip install 'kolm[train]'"
    assert caught.value.exit_code == 5
