from __future__ import annotations

import torch

from aedo.nn.lstm import LstmState, ZoneoutLstm


def build(cell: float = 0.0, hidden: float = 0.0, *, zoned: bool = False) -> ZoneoutLstm:
    torch.manual_seed(0)
    return ZoneoutLstm(3, 4, zone_cell=cell, zone_hidden=hidden, zoned_output=zoned, share="none")


def test_without_zoneout_it_is_torchs_lstm_cell_with_other_gate_order() -> None:
    lstm, cell = build(), torch.nn.LSTMCell(3, 4)
    order = [1, 2, 0, 3]  # torch: input, forget, candidate, output; ours: candidate, input, forget, output
    with torch.no_grad():
        for target, source in ((cell.weight_ih, lstm.weight_input), (cell.weight_hh, lstm.weight_hidden)):
            target.copy_(source.view(4, 4, -1)[order].flatten(0, 1))
        torch.nn.init.normal_(lstm.bias)
        cell.bias_ih.copy_(lstm.bias.view(4, 4)[order].flatten())
        cell.bias_hh.zero_()
    x, state = torch.randn(5, 3), LstmState(torch.randn(5, 4), torch.randn(5, 4))
    output, following = lstm(torch.nn.functional.linear(x, lstm.weight_input, lstm.bias), state)
    hidden, memory = cell(x, state)
    torch.testing.assert_close(output, hidden)
    torch.testing.assert_close(following.hidden, hidden)
    torch.testing.assert_close(following.cell, memory)


def test_in_training_a_unit_is_either_new_or_old() -> None:
    lstm, gates = build(0.5, 0.5).train(), torch.randn(200, 16)
    state = LstmState(torch.randn(200, 4), torch.randn(200, 4))
    raw, following = lstm(gates, state)
    kept = following.hidden == state.hidden
    torch.testing.assert_close(following.hidden[~kept], raw[~kept])
    assert 0.4 < kept.float().mean() < 0.6


def test_in_evaluation_the_state_is_the_expected_blend_and_the_output_raw() -> None:
    state, gates = LstmState(torch.randn(5, 4), torch.randn(5, 4)), torch.randn(5, 16)
    raw, plain = build().eval()(gates, state)
    output, following = build(0.25, 0.1).eval()(gates, state)
    torch.testing.assert_close(following.cell, 0.75 * plain.cell + 0.25 * state.cell)
    torch.testing.assert_close(output, raw)
    zoned, _ = build(0.25, 0.1, zoned=True).eval()(gates, state)
    torch.testing.assert_close(zoned, 0.9 * raw + 0.1 * state.hidden)
