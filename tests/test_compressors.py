"""Contracts of the compressors, found by their folder: what goes in stays as it was, what comes out can be served."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genre.component import Slot, names
from genre.compression.forms import Served, padded
from genre.compression.formsteps import checked, shape_of_network
from genre.compression.network import Network
from genre.compressors import Form, Material
from genre.errors import GenreError
from genre.textencoder import load
from toyworld import WORDS, tiny_backbone, tiny_decoder

ALL = names("compressors")
EXACT = ("onnx", "vocabulary")
"""What loses nothing on texts of the run."""
TEXTS = [f"{a} word{i % 50} {WORDS[(i * 7) % len(WORDS)]}" + " word9" * (i % 5) for i, a in enumerate(WORDS * 6)]


@functools.cache
def language_model(decoder: bool = False) -> Any:
    folder = Path(tempfile.mkdtemp(prefix="genre-test-"))
    named = (tiny_decoder if decoder else tiny_backbone)(folder / "model", layers=4)
    loaded = load(Slot("backbones").build(named))
    # As they come, random layers hardly change a state, so that leaving any out would cost nothing.
    for weight in loaded.layers.parameters():
        weight.data *= 6 if weight.ndim > 1 else 1
    return loaded


@functools.cache
def whole(decoder: bool = False) -> Form:
    loaded = language_model(decoder)
    return Form(Network.of(loaded), loaded.tokenizer)


def served(form: Form, pooling: str = "mean", unit: bool = True) -> Served:
    return Served(form, language_model().reading, pooling, unit, 16)


def pooled(states: torch.Tensor, real: torch.Tensor | None) -> torch.Tensor:
    weights = torch.ones(states.shape[:2]) if real is None else real.float()
    mean = (states * weights[..., None]).sum(1) / weights.sum(1, keepdim=True)
    return torch.nn.functional.normalize(mean, dim=-1)


def material(folder: Path, form: Form) -> Material:
    folder.mkdir(exist_ok=True)
    return Material(TEXTS, lambda: served(form).encode(TEXTS), pooled, 16, folder, seed=3)


def step(name: str, **settings: Any) -> Any:
    return Slot("compressors").build({"type": name, **settings})


def done(tmp_path: Path, *steps: Any, form: Form | None = None) -> Form:
    form = form or whole()
    first = form
    for number, one in enumerate(steps):
        form = one.compress(form, material(tmp_path / f"step{number}", first))
    return form


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def test_the_scan_finds_them():
    assert len(ALL) >= 11


@pytest.mark.parametrize("decoder", [False, True], ids=["encoder", "decoder"])
@pytest.mark.parametrize("name", ALL)
def test_gives_a_form_that_reads_any_text_and_survives_being_written(name: str, decoder: bool, tmp_path: Path):
    form, one = whole(decoder), step(name)
    shape = shape_of_network(form.runner)
    if decoder and name == "ctranslate2":
        with pytest.raises(ValueError, match="runs bert and this is llama"):
            one.check(shape)
        with pytest.raises(GenreError, match="ctranslate2 runs"):
            done(tmp_path, one, form=form)
        return
    after = one.check(shape)
    before = served(form).encode(TEXTS[:9])
    made = done(tmp_path, one, form=form)
    np.testing.assert_array_equal(served(form).encode(TEXTS[:9]), before)
    assert isinstance(made.runner, Network) == (one.gives != "program")
    assert (made.coding is not None) == (one.gives == "vectors")
    if isinstance(made.runner, Network):
        assert shape_of_network(made.runner).depth == after.depth
    texts = [*TEXTS[:9], "never heard of", "word7", ""]
    vectors = served(made).encode(texts)
    assert vectors.shape == (len(texts), 32)
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-4)
    served(made).save(tmp_path / "kept")
    kept = Served.load(tmp_path / "kept")
    np.testing.assert_allclose(kept.encode(texts), vectors, atol=1e-5)
    assert kept.form.coding == made.coding
    assert not list((tmp_path / "kept").rglob("*.p*k*l*"))
    if name in EXACT:
        np.testing.assert_allclose(vectors[:9], before, atol=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_a_text_has_the_same_vector_whatever_it_is_read_with(name: str, tmp_path: Path):
    form = served(done(tmp_path, step(name)))
    together = form.encode(TEXTS[:12])
    alone = np.concatenate([form.encode([text]) for text in TEXTS[:12]])
    # Eight-bit forms scale what they read by all that they read at once.
    assert cosines(together, alone).min() > 0.99


def test_a_network_reads_as_the_language_model_does():
    loaded = language_model()
    ids, real = padded([[2, 7, 9, 3], [2, 8, 3]], 0)
    from genre.hidden import lower_states

    expected = lower_states(loaded, [[2, 7, 9, 3], [2, 8, 3]], (4,)).numpy()
    np.testing.assert_allclose(whole().runner.states(ids, real)[real], expected[real], atol=1e-5)


@pytest.mark.parametrize("name", ["dynamic_int8", "ctranslate2", "openvino"])
def test_fewer_bits_stay_near(name: str, tmp_path: Path):
    form = done(tmp_path, step(name))
    assert cosines(served(form).encode(TEXTS), served(whole()).encode(TEXTS)).min() > 0.98


@pytest.mark.parametrize("decoder", [False, True], ids=["encoder", "decoder"])
def test_pruning_takes_weights_out_and_keeps_what_does_nothing(decoder: bool, tmp_path: Path):
    form = whole(decoder)
    assert isinstance(form.runner, Network)
    dead = form.runner.copied()
    for number in range(4):
        parts = dead.parts(number)
        parts["down"][0].weight.data[:, ::2] = 0.0
        if not decoder:
            parts["output"][0].weight.data[:, 16:] = 0.0
    given = Form(dead, form.tokenizer)
    before = served(given).encode(TEXTS)
    narrow = done(tmp_path, step("neuron_prune", keep=0.5), form=given)
    assert isinstance(narrow.runner, Network)
    assert narrow.runner.parts(0)["down"][0].in_features == dead.parts(0)["down"][0].in_features // 2
    np.testing.assert_allclose(served(narrow).encode(TEXTS), before, atol=1e-4)
    if not decoder:
        fewer = done(tmp_path, step("head_prune", keep=0.5), form=given)
        assert isinstance(fewer.runner, Network)
        assert fewer.runner.parts(0)["query"][0].out_features == 16
        np.testing.assert_allclose(served(fewer).encode(TEXTS), before, atol=1e-4)


def test_what_was_cut_goes_on_into_a_program(tmp_path: Path):
    steps = [step("neuron_prune"), step("head_prune", keep=0.5), step("layer_drop", keep=2), step("onnx")]
    checked(steps, shape_of_network(whole().runner), "items")
    network = done(tmp_path, *steps[:-1])
    made = done(tmp_path, steps[-1], form=network)
    np.testing.assert_allclose(served(made).encode(TEXTS), served(network).encode(TEXTS), atol=1e-4)
    with pytest.raises(ValueError, match="ctranslate2 runs bert and this is bert with heads cut away"):
        checked([step("head_prune"), step("ctranslate2")], shape_of_network(whole().runner), "items")
    with pytest.raises(GenreError, match="layers with heads cut away"):
        done(tmp_path, step("head_prune", keep=0.5), step("ctranslate2"))


def test_distilling_comes_nearer(tmp_path: Path):
    expected = served(whole()).encode(TEXTS)
    fewer = done(tmp_path, step("layer_drop", keep=2))
    taught = done(tmp_path, step("layer_drop", keep=2), step("distill", epochs=6))
    near, far = cosines(served(taught).encode(TEXTS), expected), cosines(served(fewer).encode(TEXTS), expected)
    assert near.mean() > far.mean()
    assert near.mean() > 0.95


def test_word_vectors_learn_the_texts(tmp_path: Path):
    expected = served(whole()).encode(TEXTS)
    raw = done(tmp_path, step("static_vectors", epochs=0))
    learned = done(tmp_path, step("static_vectors", epochs=40))
    assert cosines(served(learned).encode(TEXTS), expected).mean() > cosines(served(raw).encode(TEXTS), expected).mean()


def test_the_vocabulary_shrinks_to_what_is_read_and_a_reserve(tmp_path: Path):
    small = done(tmp_path, step("vocabulary", reserve=0))
    some = done(tmp_path, step("vocabulary", reserve=30))
    assert isinstance(small.runner, Network)
    assert isinstance(some.runner, Network)
    assert some.runner.words.num_embeddings == small.runner.words.num_embeddings + 30
    unknown = small.tokenizer("word199")["input_ids"]
    assert unknown[1] == small.tokenizer.unk_token_id


@functools.cache
def pieces(sort: str) -> Any:
    """A tokenizer that is trained here on a few words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    corpus = ["the quick brown foxes jumped over the lazy dogs", "quickly quicker quickest jumping jumps"] * 20
    sorts: dict[str, Any] = {
        "WordPiece": (models.WordPiece(unk_token="[UNK]"), trainers.WordPieceTrainer),
        "BPE": (models.BPE(unk_token="[UNK]"), trainers.BpeTrainer),
        "Unigram": (models.Unigram(), trainers.UnigramTrainer),
    }
    model, trainer = sorts[sort]
    made = Tokenizer(model)
    made.pre_tokenizer = pre_tokenizers.Metaspace() if sort == "Unigram" else pre_tokenizers.Whitespace()
    more = {"unk_token": "[UNK]"} if sort == "Unigram" else {}
    made.train_from_iterator(corpus, trainer(vocab_size=120, special_tokens=special, show_progress=False, **more))
    if sort == "WordPiece":
        made.decoder = decoders.WordPiece()
    ends = [(word, made.token_to_id(word)) for word in ("[CLS]", "[SEP]")]
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


@pytest.mark.parametrize("sort", ["WordPiece", "BPE", "Unigram"])
@given(text=st.text(alphabet="abcdefghijklmnopqrstuvwxyz ", max_size=30))
def test_a_smaller_tokenizer_reads_kept_texts_alike_and_any_other_without_an_unknown(sort: str, text: str):
    from genre.compression.vocabularies import kept_words, smaller

    tokenizer = pieces(sort)
    texts = ["the quick dogs", "jumping over"]
    kept = kept_words(tokenizer, texts, 0)
    cut = smaller(tokenizer, kept)
    assert len(cut) == len(kept) < len(tokenizer)
    for one in texts:
        assert [int(kept[number]) for number in cut(one)["input_ids"]] == tokenizer(one)["input_ids"]
    # A letter that the whole tokenizer reads is read by the smaller one too, if in more pieces.
    if tokenizer.unk_token_id not in tokenizer(text)["input_ids"]:
        numbers = cut(text)["input_ids"]
        assert cut.unk_token_id not in numbers
        assert numbers[0] == cut.cls_token_id
        words = cut.convert_ids_to_tokens(numbers[1:-1])
        assert "".join(words).replace("##", "").replace("▁", "") == text.replace(" ", "")


@pytest.mark.parametrize("pooling", ["mean", "first", "last", "attention"])
def test_pooling_is_that_of_the_trained_model(pooling: str):
    from genre.textencoder import POOLINGS

    rng = np.random.default_rng(0)
    states, real = rng.normal(size=(4, 6, 8)).astype(np.float32), np.arange(6) < np.array([[6], [2], [1], [4]])
    module = POOLINGS[pooling](8)
    for weight in module.parameters():
        torch.nn.init.normal_(weight)
    attention = {name.removeprefix("score."): value.numpy() for name, value in module.state_dict().items()}
    form = Served(whole(), language_model().reading, pooling, False, 16, attention or None)
    expected = module(torch.from_numpy(states), torch.from_numpy(real)).detach().numpy()
    np.testing.assert_allclose(form.pooled(states, real), expected, atol=1e-5)


def test_a_missing_program_is_named_with_the_mend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    import builtins

    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] in ("onnxruntime", "openvino", "ctranslate2", "onnx"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    for name in ("onnx", "openvino", "dynamic_int8", "static_int8", "ctranslate2"):
        with pytest.raises(GenreError, match=r"pip install 'genre-recommender\[compress\]'"):
            done(tmp_path, step(name))


def test_fewer_bits_of_item_vectors_keep_the_order_of_the_best(tmp_path: Path):
    rng = np.random.default_rng(0)
    items = (rng.normal(size=(500, 32)) @ np.diag(0.8 ** np.arange(32))).astype(np.float32)
    asking = rng.normal(size=(40, 32)).astype(np.float32)
    exact = asking @ items.T
    best = np.argsort(-exact, axis=1)[:, :10]
    found = {}
    for steps in (["int8_vectors"], ["binary_vectors"], ["matryoshka"], ["matryoshka", "int8_vectors"]):
        settings = {"dims": 16} if "matryoshka" in steps else {}
        chain = [step(name, **(settings if name == "matryoshka" else {})) for name in steps]
        coding = done(tmp_path, *chain).coding
        assert coding is not None
        kept = coding.encode(items)
        scores = coding.scores(kept, asking)
        assert scores.shape == exact.shape
        mine = np.argsort(-scores, axis=1)[:, :10]
        size = sum(one.nbytes for one in kept.values())
        overlap = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(mine, best, strict=True)])
        found["+".join(steps)] = (size / items.nbytes, overlap)
        if steps != ["binary_vectors"]:
            np.testing.assert_allclose(asking @ coding.decode(kept).T, scores, atol=1e-3)
    assert found["int8_vectors"][0] < 0.3
    assert found["int8_vectors"][1] > 0.95
    assert found["matryoshka+int8_vectors"][0] < 0.2
    assert found["matryoshka"][1] > 0.7
    assert found["binary_vectors"][1] > 0.75


def test_binary_vectors_put_what_was_scored_again_first(tmp_path: Path):
    rng = np.random.default_rng(1)
    items, asking = (rng.normal(size=(n, 16)).astype(np.float32) for n in (100, 5))
    coding = done(tmp_path, step("binary_vectors", again=20)).coding
    assert coding is not None
    kept = coding.encode(items)
    scores, again = coding.scores(kept, asking), asking @ coding.decode(kept).T
    for mine, theirs in zip(scores, again, strict=True):
        first = np.argsort(-mine)[:20]
        np.testing.assert_allclose(mine[first], theirs[first], atol=1e-4)
        assert mine[first].min() > np.delete(mine, first).max()
