import torch
from torch import Tensor

from operators.models.vinet import Previous
from operators.nested import leaves, mapped


def doubled(tensor: Tensor) -> Tensor:
    return 2.0 * tensor


def test_every_tensor_is_changed_and_nothing_else() -> None:
    one, two, three = torch.ones(1), torch.full((1,), 2.0), torch.full((1,), 3.0)
    structure = (one, [0.5, two, None], Previous(three, one), "word")

    changed = mapped(structure, doubled)

    assert isinstance(changed[1], list)
    assert isinstance(changed[2], Previous)
    found = list(leaves(changed))
    assert [float(leaf) for leaf in found if isinstance(leaf, Tensor)] == [2.0, 4.0, 6.0, 2.0]
    assert [leaf for leaf in found if not isinstance(leaf, Tensor)] == [0.5, None, "word"]
    # The structure that was given is as it was.
    assert float(structure[2].image) == 3.0


def test_leaves_come_in_order_also_of_a_single_value() -> None:
    assert list(leaves((1, [2, (3,)], 4))) == [1, 2, 3, 4]
    assert list(leaves(None)) == [None]
