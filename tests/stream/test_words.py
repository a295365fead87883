import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aedo.data.text import CharTokenizer, TokenizerConfig, train_tokenizer
from aedo.stream.words import Span, agreed, complete, spans

CHARACTERS = CharTokenizer(list(" abc"))  # labels 2 to 5


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    texts = ["she sells sea shells by the sea shore", "the shells she sells are sea shells", "a bee sees a tree"]
    return train_tokenizer(TokenizerConfig(kind="bpe", size=40), texts * 3, tmp_path_factory.mktemp("bpe"))


@pytest.mark.parametrize(
    ("hypotheses", "common"),
    [([], 0), ([[1, 2]], 2), ([[1, 2], [1, 2, 3]], 2), ([[1, 2, 3], [1, 4, 3], [1, 2, 3]], 1), ([[1], []], 0)],
)
def test_hypotheses_agree_up_to_their_first_difference(hypotheses, common):
    assert agreed(hypotheses) == common


@pytest.mark.parametrize(
    ("text", "final"), [("", ""), ("ab", ""), ("ab ", "ab "), ("ab c", "ab "), (" ", ""), ("a bc a", "a bc ")]
)
def test_the_last_word_may_go_on_unless_a_blank_is_behind_it(text, final):
    labels = [" abc".index(character) + 2 for character in text]
    assert complete(CHARACTERS, labels) == len(final)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_complete_words_stay_whatever_labels_come_behind(pieces, data):
    labels = data.draw(st.lists(st.integers(2, pieces.size - 1), max_size=8))
    more = data.draw(st.lists(st.integers(2, pieces.size - 1), max_size=5))
    count = complete(pieces, labels)
    whole, final = pieces.decode(labels + more).split(), pieces.decode(labels[:count]).split()
    assert whole[: len(final)] == final
    assert final + pieces.decode((labels + more)[count:]).split() == whole, "what is left stands for itself"


def test_words_know_their_labels():
    assert spans(CHARACTERS, [3, 4, 2, 2, 5]) == [Span("ab", 0, 1), Span("c", 4, 4)]
    assert spans(CHARACTERS, []) == []
