from __future__ import annotations

import copy

import pytest
import torch

from aedo.nn.search_layers import Embedded, Products


@pytest.mark.parametrize("bias", [False, True])
def test_under_autocast_a_matrix_is_turned_into_its_type_once(bias: bool) -> None:
    torch.manual_seed(0)
    layer, products, x = torch.nn.Linear(8, 5, bias=bias), Products(), torch.randn(2, 3, 8)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        expected = layer(x)
        assert torch.equal(products.layer(layer, x), expected)
        kept = products._of(layer.weight, torch.bfloat16, 6)
        assert products._of(layer.weight, torch.bfloat16, 6) is kept


def test_a_search_gets_the_same_whether_its_matrices_are_packed_or_not() -> None:
    layer, products = torch.nn.Linear(8, 5), Products()
    with torch.inference_mode():
        for rows in (1, 12, 2):
            x = torch.randn(rows, 3, 8)
            torch.testing.assert_close(products.layer(layer, x), layer(x))


@pytest.mark.parametrize("outputs", [127, 128, 129, 300])
def test_matrices_of_any_number_of_outputs_give_just_these(outputs: int) -> None:
    layer, products, x = torch.nn.Linear(8, outputs), Products(), torch.randn(3, 5, 8)
    with torch.inference_mode():
        for _ in range(2):
            found = products.layer(layer, x)
            assert found.shape == (3, 5, outputs)
            torch.testing.assert_close(found, layer(x))
            layer.bias.data += 1.0


def test_with_gradients_it_is_torchs_layer() -> None:
    layer, x = torch.nn.Linear(8, 5), torch.randn(3, 8)
    found = Products().layer(layer, x)
    assert torch.equal(found, layer(x))
    assert found.requires_grad


def test_matrices_stay_packed_from_search_to_search_until_they_change() -> None:
    layer, products, x = torch.nn.Linear(8, 5), Products(), torch.randn(12, 8)
    weight = layer.weight
    with torch.inference_mode():
        first = products.layer(layer, x)
        ready = products._of(weight, torch.float32, 12)
        assert products._of(weight, torch.float32, 40) is ready
        assert products._of(weight, torch.float32, 1) is ready
    with torch.no_grad():
        weight.mul_(2.0)
    with torch.inference_mode():
        second = products.layer(layer, x)
        torch.testing.assert_close(second - layer.bias, 2.0 * (first - layer.bias))
        weight.data = weight.detach().clone() * 2.0
        torch.testing.assert_close(products.layer(layer, x), layer(x))


def test_matrices_are_packed_anew_for_far_more_or_fewer_rows() -> None:
    layer, products = torch.nn.Linear(8, 5), Products()
    with torch.inference_mode():
        ready = [products._of(layer.weight, torch.float32, rows) for rows in (12, 12 * 16, 12 * 17)]
        assert products._kept[id(layer.weight), torch.float32].rows == 12 * 17
        products._of(layer.weight, torch.float32, 12)
        assert products._kept[id(layer.weight), torch.float32].rows == 12
    assert ready[0] is ready[1]


def test_copies_of_a_model_keep_nothing_packed() -> None:
    layer, products = torch.nn.Linear(8, 5), Products()
    with torch.inference_mode():
        products.layer(layer, torch.randn(12, 8))
    assert products._kept
    assert not copy.deepcopy(products)._kept


def embedded_layer(labels: int = 30, others: tuple[int, int] = (3, 4)) -> tuple[torch.nn.Embedding, torch.nn.Linear]:
    torch.manual_seed(0)
    return torch.nn.Embedding(labels, 5), torch.nn.Linear(sum(others) + 5, 6)


@pytest.mark.parametrize("others", [(3, 4), (0, 4), (3, 0), (0, 0)])
@pytest.mark.parametrize("autocast", [False, True])
def test_labels_are_an_input_like_others_multiplied_or_looked_up(others: tuple[int, int], autocast: bool) -> None:
    embedding, layer = embedded_layer(others=others)
    products, labels = Products(), torch.randint(0, 30, (2, 6))
    before, behind = (torch.randn(2, 6, width) for width in others)
    inputs = [x for x in (before, Embedded(labels, embedding), behind) if not (torch.is_tensor(x) and x.shape[-1] == 0)]
    tolerance = {"rtol": 0.0, "atol": 0.03} if autocast else {"rtol": 1e-5, "atol": 1e-6}
    for bias in (1.0, 2.0):
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            layer.bias.fill_(bias)  # is not part of a table
            for _ in range(3):
                found = products.layer(layer, *inputs)
                expected = layer(torch.cat([before, embedding(labels), behind], -1))
                torch.testing.assert_close(found, expected, **tolerance)
    assert [table.parts is not None for table in products._tables.values()] == [True]


def test_a_table_is_made_when_as_many_labels_were_asked_for_as_there_are() -> None:
    embedding, layer = embedded_layer()
    products, x = Products(), torch.randn(10, 7)
    made = []
    with torch.inference_mode():
        for _ in range(4):
            products.layer(layer, Embedded(torch.arange(10), embedding), x)
            (table,) = products._tables.values()
            made.append(table.parts is not None)
    assert made == [False, False, True, True]
    assert all(kept.original is not layer.weight for kept in products._kept.values())  # the whole is packed no more


@pytest.mark.parametrize("changed", ["matrix", "embedding"])
def test_a_table_is_given_up_when_weights_change(changed: str) -> None:
    embedding, layer = embedded_layer()
    products, x = Products(), torch.randn(40, 7)
    labels = torch.arange(40) % 30
    with torch.inference_mode():
        products.layer(layer, Embedded(labels, embedding), x)
    with torch.no_grad():
        (layer if changed == "matrix" else embedding).weight.mul_(2.0)
    with torch.inference_mode():
        few = products.layer(layer, Embedded(labels[:9], embedding), x[:9])
        assert [table.parts for table in products._tables.values()] == [None]
        torch.testing.assert_close(few, layer(torch.cat([embedding(labels[:9]), x[:9]], -1)))


def test_there_is_no_table_with_gradients_nor_one_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    embedding, layer = embedded_layer()
    products, x, labels = Products(), torch.randn(40, 7), torch.arange(40) % 30
    products.layer(layer, Embedded(labels, embedding), x).sum().backward()
    assert embedding.weight.grad is not None
    assert not products._tables
    monkeypatch.setattr(Products, "TABLE", 30 * 6 * 4 - 1)
    with torch.inference_mode():
        products.layer(layer, Embedded(labels, embedding), x)
    assert not products._tables


def test_a_training_forgets_what_searches_made_ready() -> None:
    embedding, layer = embedded_layer()
    products = Products()
    with torch.inference_mode():
        products.layer(layer, Embedded(torch.arange(30), embedding), torch.randn(30, 7))
    assert products._kept
    products.forget()
    assert not products._kept
    assert not products._tables
