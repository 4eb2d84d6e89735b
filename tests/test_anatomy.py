"""Layer by layer a language model says what it says as a whole; families where it would not are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from genre.backbones import Loaded
from genre.errors import GenreError
from genre.hidden import lower_states, padded
from genre.huggingface import load, shape_of
from genre.stack import Stack
from toyworld import tiny_backbone, tiny_decoder

WINDOW = 3
TOKENS = [[5, 9, 13, 17, 21, 25, 29, 33, 37, 41, 45, 49], [6, 7, 8, 9, 10], [50]]
"""The longest is four times the window."""
NARROW = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64, "max_position_embeddings": 64}
SIZES = {"vocab_size": 60, "num_hidden_layers": 3, "pad_token_id": 1, "initializer_range": 0.3, **NARROW}
GROUPED = {"num_key_value_heads": 2, "bos_token_id": 2, "eos_token_id": 3, "head_dim": 8}
ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("BertModel", {}),
    "roberta": ("RobertaModel", {}),
    "xlm_roberta": ("XLMRobertaModel", {}),
    "electra": ("ElectraModel", {"embedding_size": 16}),
}
LOCAL_THEN_GLOBAL = {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
SLIDING = {"use_sliding_window": True, "sliding_window": WINDOW, **LOCAL_THEN_GLOBAL}
ANGLES = {"full_attention": {"rope_theta": 1e6}, "sliding_attention": {"rope_theta": 1e2}}
TURNS = {kind: {"rope_type": "default", **angle} for kind, angle in ANGLES.items()}
DECODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaForCausalLM", {"tie_word_embeddings": True}),
    "llama_untied": ("LlamaForCausalLM", {"tie_word_embeddings": False}),
    "mistral": ("MistralForCausalLM", {"sliding_window": WINDOW}),
    "qwen2": ("Qwen2ForCausalLM", SLIDING),
    "qwen3": ("Qwen3ForCausalLM", SLIDING),
    "gemma3": (
        "Gemma3ForCausalLM",
        {"sliding_window": WINDOW, "rope_parameters": TURNS, "query_pre_attn_scalar": 8, **LOCAL_THEN_GLOBAL},
    ),
    "llama_headless": ("LlamaModel", {}),
}
FAMILIES = ENCODERS | DECODERS


def save(folder: Path, name: str, settings: dict[str, Any]) -> Any:
    """A random model of a class of transformers in a folder, beside a tokenizer; large weights, so that all count."""
    tiny_backbone(folder) if name in {c for c, _ in ENCODERS.values()} else tiny_decoder(folder)
    cls: Any = getattr(transformers, name)
    torch.manual_seed(0)
    model = cls(cls.config_class(**settings)).eval()
    model.save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any, Loaded]]:
    """Each family: its folder, the whole model, and what is loaded of it."""
    made = {}
    for family, (name, settings) in FAMILIES.items():
        folder = tmp_path_factory.mktemp(family)
        whole = save(folder, name, SIZES | (GROUPED if family in DECODERS else {}) | settings)
        made[family] = folder, whole, load(str(folder))
    return made


def through_the_whole(whole: Any) -> tuple[Tensor, Tensor]:
    """States after the last layer, from the family's own forward pass, and which are real."""
    real = torch.tensor([[i < len(one) for i in range(len(TOKENS[0]))] for one in TOKENS])
    ids = torch.tensor([one + [SIZES["pad_token_id"]] * (len(TOKENS[0]) - len(one)) for one in TOKENS])
    with torch.no_grad():
        model = getattr(whole, "model", whole)
        return model(input_ids=ids, attention_mask=real.long()).last_hidden_state, real


@pytest.mark.parametrize("family", FAMILIES)
def test_layer_by_layer_equals_the_whole_model(family: str, models):
    _, whole, loaded = models[family]
    expected, real = through_the_whole(whole)
    for tap in range(len(loaded.layers) + 1):
        stack = Stack(loaded, (tap,))
        with torch.no_grad():
            states = stack(lower_states(loaded, TOKENS, (tap,)), real)
        torch.testing.assert_close(states[real], expected[real], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", ["mistral", "qwen2", "qwen3", "gemma3"])
def test_the_window_is_one_that_shows(family: str, models):
    loaded = models[family][2]
    other_start = [[40, *TOKENS[0][1:]]]
    plain, changed = (lower_states(loaded, tokens, (1,))[0] for tokens in (TOKENS[:1], other_start))
    reached = (plain - changed).abs().amax(-1) > 1e-5
    assert reached.nonzero().flatten().tolist() == list(range(WINDOW))


@pytest.mark.parametrize("family", ["roberta", "mistral", "gemma3"])
def test_computing_layers_anew_for_the_backward_pass_changes_no_gradient(family: str, models):
    loaded = models[family][2]
    _, real = padded(loaded, TOKENS)
    entering = lower_states(loaded, TOKENS, (1,)).clone()
    gradients = []
    for again in (False, True):
        stack = Stack(loaded, (1,))
        stack.open_weights(lambda name: True)
        stack.checkpointing = again
        stack(entering, real)[real].square().sum().backward()
        gradients.append([weight.grad for weight in stack.layers.parameters()])
    assert any(plain.abs().sum() > 0 for plain in gradients[0])
    for plain, anew in zip(*gradients, strict=True):
        torch.testing.assert_close(anew, plain)


@pytest.mark.parametrize("family", DECODERS)
def test_vocabulary_gives_the_logits_of_the_whole_model(family: str, models):
    _, whole, loaded = models[family]
    states, real = through_the_whole(whole)
    if family == "llama_headless":
        assert loaded.vocabulary is None
        return
    ids, _ = padded(loaded, TOKENS)
    with torch.no_grad():
        expected = whole(input_ids=ids, attention_mask=real.long()).logits
    torch.testing.assert_close((states @ loaded.vocabulary.T)[real], expected[real], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_shape_is_known_without_the_weights(family: str, models):
    folder, whole, loaded = models[family]
    shape = shape_of(folder)
    assert shape is not None
    assert (shape.depth, shape.causal) == (len(loaded.layers), loaded.anatomy.causal)
    assert shape.family == whole.config.model_type
    assert shape.tokenizer == folder / "tokenizer.json"
    assert (loaded.vocabulary is None) == (family in ENCODERS or family == "llama_headless")


REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "other names": ("DistilBertModel", {"vocab_size": 60, "dim": 32, "n_heads": 4, "n_layers": 2, "hidden_dim": 64}),
    "learned positions": ("GPT2LMHeadModel", {"vocab_size": 60, "n_embd": 32, "n_head": 4, "n_layer": 2}),
    "encoder and decoder": (
        "T5EncoderModel",
        {"vocab_size": 60, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4},
    ),
    "norm after the layers": ("RobertaPreLayerNormModel", SIZES),
    "embeddings multiplied outside": ("GraniteForCausalLM", SIZES | GROUPED | {"embedding_multiplier": 12.0}),
    "logits bent": ("Gemma3ForCausalLM", SIZES | GROUPED | {"final_logit_softcapping": 30.0}),
    "BERT that looks back only": ("BertModel", SIZES | {"is_decoder": True}),
    "Gemma that looks ahead": ("Gemma3TextModel", SIZES | GROUPED | {"use_bidirectional_attention": True}),
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_family_that_cannot_be_fed_so_is_refused(why: str, tmp_path: Path):
    name, settings = REFUSED[why]
    save(tmp_path, name, settings)
    with pytest.raises(GenreError, match="cannot be run one by one"):
        load(str(tmp_path))


def test_a_family_without_fast_attention_is_refused_in_one_sentence(tmp_path: Path):
    save(tmp_path, "MPNetModel", SIZES)
    with pytest.raises(GenreError, match=r"could not be loaded: MPNetModel does not support .* yet$"):
        load(str(tmp_path))
