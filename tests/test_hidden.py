"""Hidden states kept on disk, and the text encoder over them."""

import numpy as np
import pytest
import torch
from transformers import AutoModel

import genre.hidden
from genre.component import Slot
from genre.config import ModelSection
from genre.errors import GenreError
from genre.hidden import PassingStates, tokenize
from genre.hidden import hidden_states as states_of_tokens
from genre.textencoder import build, pretrained_vectors
from toyworld import WORDS, tiny_backbone


def hidden_states(loaded, texts, taps, max_tokens):
    """States of texts."""
    return states_of_tokens(loaded, tokenize(loaded, texts, max_tokens), taps)


TEXTS = ["redcup word1", "redcup", "greenhat word2 word3 word4", "", "bluepen word9"]


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    monkeypatch.setenv("GENRE_CACHE", str(tmp_path / "cache"))
    return Slot("backbones").build(tiny_backbone(tmp_path / "bert")).load()


def whole_model(loaded, text):
    """Mean of the last layer's states of one text, by the model's own forward pass, of unit length."""
    model = AutoModel.from_pretrained(loaded.tokenizer.name_or_path)
    with torch.inference_mode():
        states = model.eval()(**loaded.tokenizer(text, return_tensors="pt")).last_hidden_state
    return torch.nn.functional.normalize(states.mean(1), dim=-1)[0].numpy()


def test_the_split_model_says_what_the_whole_model_says(loaded):
    vectors = pretrained_vectors(loaded, TEXTS, max_tokens=32)
    for text, vector in zip(TEXTS, vectors, strict=True):
        np.testing.assert_allclose(vector, whole_model(loaded, text), atol=0.02)  # bfloat16


def test_every_layer_may_be_the_first_trained_one(loaded):
    for layers in (1, 2):
        encoder, _ = build(ModelSection(adapter={"type": "top_layers", "layers": layers}), loaded)
        states = hidden_states(loaded, TEXTS, encoder.stack.taps, 32)
        vectors = encoder.encode(states, np.arange(len(TEXTS)), 4096).numpy()
        np.testing.assert_allclose(vectors[0], whole_model(loaded, TEXTS[0]), atol=0.02)


def test_known_texts_are_not_computed_again_and_new_ones_are_added(loaded, monkeypatch):
    hidden_states(loaded, TEXTS, (1,), 32)
    seen = []
    compute = genre.hidden.lower_states
    monkeypatch.setattr(
        genre.hidden, "lower_states", lambda m, tokens, taps: seen.append(len(tokens)) or compute(m, tokens, taps)
    )
    again = hidden_states(loaded, [*TEXTS, *TEXTS], (1,), 32)
    assert seen == []
    more = hidden_states(loaded, [*TEXTS, "greycup"], (1,), 32)
    assert seen == [1]
    np.testing.assert_array_equal(again.lengths[:5], more.lengths[:5])
    torch.testing.assert_close(again.batch(np.array([0]))[0], more.batch(np.array([0]))[0])


def test_texts_that_pass_by_have_the_same_states_and_are_kept_nowhere(loaded, tmp_path):
    passing = PassingStates.of(loaded, tokenize(loaded, TEXTS, 32), (1,))
    assert not (tmp_path / "cache").exists()
    kept, rows = hidden_states(loaded, TEXTS, (1,), 32), np.arange(len(TEXTS))
    (a, real), (b, _) = passing.batch(rows), kept.batch(rows)
    torch.testing.assert_close(a[real], b[real], rtol=0.02, atol=0.02)


@pytest.mark.parametrize(("layer", "max_tokens"), [(0, 32), (1, 8)])
def test_another_layer_or_length_has_its_own_store(loaded, layer, max_tokens):
    long = " ".join(WORDS)
    first = hidden_states(loaded, [long], (1,), 32)
    other = hidden_states(loaded, [long], (layer,), max_tokens)
    assert other.lengths[0] == min(max_tokens, first.lengths[0])
    part = first.batch(np.array([0]))[0][:, : int(other.lengths[0])]
    assert not torch.equal(part, other.batch(np.array([0]))[0])


def test_a_batch_tells_padding_from_tokens(loaded):
    states = hidden_states(loaded, TEXTS, (1,), 32)
    hidden, real = states.batch(np.array([1, 2]))
    assert hidden.shape == (2, 6, 32)
    assert real.sum(1).tolist() == [3, 6]


def test_states_that_are_not_finite_stop_it(loaded):
    with torch.no_grad():
        loaded.layers[0].attention.self.query.weight[:] = float("nan")
    with pytest.raises(GenreError, match="not finite; its weights are damaged"):
        hidden_states(loaded, TEXTS, (1,), 32)


def test_a_store_cut_short_is_named(loaded, tmp_path):
    hidden_states(loaded, TEXTS, (1,), 32)
    file = next((tmp_path / "cache").rglob("states.bf16"))
    file.write_bytes(file.read_bytes()[:-64])
    with pytest.raises(GenreError, match="delete this folder"):
        hidden_states(loaded, TEXTS, (1,), 32)


def test_the_cached_gradient_is_that_of_one_graph(loaded):
    encoder, _ = build(ModelSection(adapter={"type": "lora", "layers": 1, "r": 4}), loaded)
    states, rows = hidden_states(loaded, TEXTS, encoder.stack.taps, 32), np.arange(len(TEXTS))
    target = torch.randn(len(TEXTS), 32)
    opened = [p for p in encoder.parameters() if p.requires_grad]
    for p in opened:
        torch.nn.init.normal_(p, std=0.1)

    (encoder(*states.batch(rows)) * target).sum().backward()
    expected = [p.grad.clone() for p in opened]
    encoder.zero_grad()

    vectors = encoder.encode(states, rows, 16).requires_grad_()
    (vectors * target).sum().backward()
    encoder.backward(states, rows, vectors.grad, 16)
    for p, gradient in zip(opened, expected, strict=True):
        torch.testing.assert_close(p.grad, gradient, rtol=1e-3, atol=1e-5)


def test_a_missing_backbone_says_where_it_looked(tmp_path):
    with pytest.raises(GenreError, match="could not be loaded"):
        Slot("backbones").build({"type": "huggingface", "path": str(tmp_path / "none")}).load()


def test_minilm_knows_what_belongs_together(monkeypatch, tmp_path):
    monkeypatch.setenv("GENRE_CACHE", str(tmp_path))
    loaded = Slot("backbones").build("minilm").load()
    texts = ["A space station drama about astronauts", "Astronauts stranded in orbit", "A recipe for apple pie"]
    vectors = pretrained_vectors(loaded, texts, 32)
    assert vectors[0] @ vectors[1] > 0.4 > vectors[0] @ vectors[2] + 0.2
