"""Hidden states kept on disk, and the text encoder over them."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModel

import genre.hidden
from genre.component import Slot
from genre.config import ModelSection
from genre.errors import GenreError
from genre.hidden import PassingStates, lower_states, states_in, tokenize
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


@pytest.mark.parametrize("adapter", [{"type": "lora", "layers": 2, "dropout": 0.3}, "prefix", "full"])
def test_a_kept_graph_gives_the_gradient_of_one_that_is_made_anew(loaded, adapter):
    encoder, _ = build(ModelSection(adapter=adapter), loaded)
    encoder.train()
    states, rows = hidden_states(loaded, TEXTS, encoder.stack.taps, 32), np.arange(len(TEXTS))
    opened = [p for p in encoder.parameters() if p.requires_grad]
    for p in opened:
        p.data += 0.1 * torch.randn_like(p)
    target, found = torch.randn(len(TEXTS), 32), []
    for most in (0, 10_000):
        torch.manual_seed(1)
        read = encoder.follow(states, rows, 16, most)
        assert bool(read.parts) == bool(most)
        (read.vectors * target).sum().backward()
        encoder.carry(states, rows, read, 0.5, 16)
        found.append([read.vectors.detach(), *(p.grad.clone() for p in opened), torch.rand(1)])
        encoder.zero_grad()
    torch.testing.assert_close(found[0], found[1], rtol=1e-6, atol=1e-7)


# The fast paths beside the slow one

ADAPTERS = ["full", "lora", "dora", "adalora", "bottleneck", "bitfit", "ia3", "prefix", "prompt", "side", "top_layers"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A language model for all examples; they do not change it."""
    return Slot("backbones").build(tiny_backbone(tmp_path_factory.mktemp("bert"))).load()


@st.composite
def asked_texts(draw):
    """Texts of any lengths as tokens, and some of them, in any order."""
    lengths = draw(st.lists(st.integers(1, 24), min_size=1, max_size=9))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    tokens = [rng.integers(5, 5 + len(WORDS), n).tolist() for n in lengths]
    return tokens, np.array(draw(st.permutations(range(len(tokens))))[: draw(st.integers(1, len(tokens)))])


def one_by_one(encoder, loaded, states, tokens, rows, target):
    """The slow path: each text alone, not padded, from its embeddings on unless ``states`` are given; one graph."""
    alone = [
        states.batch(np.array([row]))[0] if states else lower_states(loaded, [tokens[row]], encoder.stack.taps)
        for row in rows
    ]
    vectors = torch.cat([encoder(one, None) for one in alone])
    (vectors * target).sum().backward()
    return vectors.detach(), gradients(encoder)


def gradients(encoder):
    """The gradient of every weight that is trained, which is then forgotten."""
    found = {name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in encoder.opened()}
    encoder.zero_grad()
    return found


def like(found, expected):
    """Equal but for the order in which float32 numbers are added."""
    torch.testing.assert_close(found[0], expected[0], rtol=1e-4, atol=1e-5)
    assert list(found[1]) == list(expected[1])
    scale = max((float(gradient.abs().max()) for gradient in expected[1].values()), default=0.0)
    for name, gradient in expected[1].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-3, atol=1e-5 * max(1.0, scale), msg=name)


@settings(max_examples=60)
@given(
    texts=asked_texts(),
    adapter=st.sampled_from(ADAPTERS),
    pooling=st.sampled_from(["mean", "first", "last", "attention"]),
    budget=st.integers(1, 150),
    kept_graph=st.booleans(),
    checkpointing=st.booleans(),
    kept_states=st.booleans(),
    share=st.sampled_from([1.0, 0.25]),
)
def test_any_texts_in_any_batches_have_the_vectors_and_gradients_of_each_alone(
    shared, texts, adapter, pooling, budget, kept_graph, checkpointing, kept_states, share
):
    """Read once and kept, in batches of like length, with the graph kept or made anew: all are the slow path."""
    tokens, rows = texts
    torch.manual_seed(3)
    encoder, _ = build(ModelSection(adapter=adapter, pooling=pooling), shared)
    weights = [p for _, p in encoder.opened()]
    before = [p.detach().clone() for p in weights]
    for p in weights:
        p.data += 0.05 * torch.randn_like(p)
    encoder.train()
    target = torch.randn(len(rows), 32)
    try:
        with tempfile.TemporaryDirectory() as folder, states_in(Path(folder)):
            states = (
                states_of_tokens(shared, tokens, encoder.stack.taps, budget)
                if kept_states
                else PassingStates.of(shared, tokens, encoder.stack.taps)
            )
            # What is kept is rounded, and the slow path begins from the same.
            slow = one_by_one(encoder, shared, states if kept_states else None, tokens, rows, share * target)
            encoder.stack.checkpointing = checkpointing
            read = encoder.follow(states, rows, budget, 10_000 * kept_graph)
            assert bool(read.parts) == (kept_graph and not checkpointing)
            (read.vectors * target).sum().backward()
            encoder.carry(states, rows, read, share, budget)
            like((read.vectors.detach(), gradients(encoder)), slow)
            torch.testing.assert_close(encoder.encode(states, rows, budget), slow[0], rtol=1e-4, atol=1e-5)
            assert any(bool(gradient.any()) for gradient in slow[1].values())
    finally:
        for p, old in zip(weights, before, strict=True):
            p.data = old


def test_a_missing_backbone_says_where_it_looked(tmp_path):
    with pytest.raises(GenreError, match="could not be loaded"):
        Slot("backbones").build({"type": "huggingface", "path": str(tmp_path / "none")}).load()


def test_minilm_knows_what_belongs_together(monkeypatch, tmp_path):
    monkeypatch.setenv("GENRE_CACHE", str(tmp_path))
    loaded = Slot("backbones").build("minilm").load()
    texts = ["A space station drama about astronauts", "Astronauts stranded in orbit", "A recipe for apple pie"]
    vectors = pretrained_vectors(loaded, texts, 32)
    assert vectors[0] @ vectors[1] > 0.4 > vectors[0] @ vectors[2] + 0.2
