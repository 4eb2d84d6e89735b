"""The model of the formulations `text` and `cross`: heads over what the language model made of one text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from genre.backbones import Loaded
from genre.balancing import Balance
from genre.clock import times
from genre.config import ModelSection
from genre.data import Dataset, Histories, Log
from genre.errors import GenreError, RunError
from genre.files import replacing_folder, seal, unseal
from genre.heads import Examples, Head, LabelFacts, Language, Tokens
from genre.hidden import States
from genre.model import language_of, state_of
from genre.noise import padded_to
from genre.offsets import Offset, offsets_of
from genre.parallel import team
from genre.prompts import Writer
from genre.sheets import IGNORED, Rows, Sheet
from genre.textencoder import TextEncoder, build, load, pretrained_items
from genre.types import Floats, Ints

FORMAT = 1


@dataclass
class Read:
    """What the language model made of ``m`` texts."""

    pooled: Tensor
    """``[m, hidden]``."""
    states: Tensor | None = None
    """``[m, l, hidden]``, where a head reads tokens."""


def read(text: TextEncoder, states: States, rows: Rows, sheet: Sheet, tokens: bool, longest: int = 0) -> Read:
    """Some texts of a sheet through the trained layers; the vector of a text is of its prompt alone.

    What is written behind a prompt is not seen by it: a decoder's tokens see earlier ones only. They are padded to
    ``longest`` tokens at least.
    """
    entering, real = padded_to(*states.batch(rows), longest)
    return read_states(text, entering, real, rows, sheet, tokens)


def read_states(
    text: TextEncoder, entering: Tensor, real: Tensor | None, rows: Rows, sheet: Sheet, tokens: bool
) -> Read:
    """The same from the states ``entering`` the trained layers, which need not be those that the texts have."""
    ends = torch.from_numpy(sheet.asked_lengths[rows])
    prompt = torch.arange(entering.shape[1]) < ends[:, None]
    after = text.stack(entering, real)
    pooled = text.pooled(after, None if bool(prompt.all()) else prompt)
    return Read(pooled, after.to("cpu") if tokens else None)


class TextTaskModel(nn.Module):
    """Towers and heads over texts. The language model is a `TextEncoder` of its own."""

    def __init__(
        self, section: ModelSection, labels: dict[str, LabelFacts], hidden: int, language: Language | None
    ) -> None:
        super().__init__()
        self.section, self.labels, self.hidden = section, labels, hidden
        tasks = [name for name, head in section.heads.items() if head.reads == "features"]
        self.dropout = nn.Dropout(section.dropout)
        self.towers = section.towers.build(hidden, section.dim, tasks)
        width = section.towers.width_of(hidden, section.dim)
        built = {}
        for name, head in section.heads.items():
            given = width if head.reads == "features" else hidden
            built[f"head_{name}"] = head.build(given, labels.get(name, LabelFacts()), language)
        self.heads = nn.ModuleDict(built)
        weights = {name: head.weight for name, head in section.heads.items()}
        self.balance: Balance = section.balance.build(weights)  # type: ignore[assignment]

    @property
    def reads_tokens(self) -> bool:
        """Whether a head looks at tokens one by one."""
        return any(head.reads == "tokens" for head in self.section.heads.values())

    @times("heads")
    def losses(self, made: Read, sheet: Sheet, rows: Rows) -> dict[str, Tensor]:
        """Loss of every head on some rows of a sheet."""
        return {
            name: head.loss(self.heads[f"head_{name}"], examples)
            for name, head, examples in self.examples(made, sheet, rows)
        }

    def predictions(self, made: Read, sheet: Sheet, rows: Rows) -> dict[str, Tensor]:
        """What every head says of some rows of a sheet."""
        return {
            name: head.predict(self.heads[f"head_{name}"], examples)
            for name, head, examples in self.examples(made, sheet, rows)
            if head.predicts != "nothing"
        }

    def examples(self, made: Read, sheet: Sheet, rows: Rows) -> Iterator[tuple[str, Head, Examples]]:
        """What every head is given of some rows of a sheet."""
        features = self.towers(self.dropout(made.pooled))
        group = torch.from_numpy(sheet.group[rows].astype(np.int64))
        for name, head in self.section.heads.items():
            labels = torch.from_numpy(sheet.labels[name][rows]) if name in sheet.labels else None
            if labels is None:
                labels = torch.full((len(rows),), torch.nan)
            tokens = None
            if head.reads == "tokens":
                assert made.states is not None
                tokens = Tokens(self.dropout(made.states), _padded(sheet.token_labels.get(name), rows, made.states))
            offset = torch.from_numpy(sheet.offsets[name][rows]) if name in sheet.offsets else None
            yield name, head, Examples(labels, features.get(name, made.pooled), group, tokens=tokens, offset=offset)

    def shared(self) -> list[Tensor]:
        """The weights that more than one head depends on."""
        return list(self.towers.parameters())


def _padded(labels: list[Any] | None, rows: Rows, states: Tensor) -> Tensor:
    made = torch.full(states.shape[:2], IGNORED)
    for i, row in enumerate(rows if labels is not None else []):
        assert labels is not None
        made[i, : len(labels[row])] = torch.from_numpy(labels[row])
    return made


@dataclass
class TrainedTexts:
    """A model that reads texts and answers."""

    model: TextTaskModel
    text: TextEncoder
    loaded: Loaded
    token_budget: int = 8192

    @property
    def heads(self) -> dict[str, Head]:
        """The task heads by name."""
        return self.model.section.heads

    def answers(self, sheet: Sheet, most_bytes: float = 0) -> dict[str, list[Floats]]:
        """What every head says of each text of a sheet: a number, one a class, or one a token and class."""
        return self.answers_of(sheet, self.readings(sheet, most_bytes))

    @torch.inference_mode()
    def readings(self, sheet: Sheet, most_bytes: float = 0) -> Iterator[tuple[Rows, Read]]:
        """The texts of a sheet through the language model, some rows at a time."""
        self.text.eval()
        states = sheet.states(self.loaded, self.text.stack.taps, self.token_budget, most_bytes)
        for part in sheet.parts(np.arange(len(sheet)), self.token_budget, together=False):
            rows = part[team().dealt(len(part))[0]]
            yield rows, read(self.text, states, rows, sheet, self.model.reads_tokens)

    @torch.inference_mode()
    def answers_of(self, sheet: Sheet, readings: Iterable[tuple[Rows, Read]]) -> dict[str, list[Floats]]:
        """What the heads make of texts that the language model has read."""
        self.model.eval()
        own: list[tuple[str, Rows, Floats]] = []
        for rows, made in readings:
            said = self.model.predictions(made, sheet, rows)
            own += [(name, rows, values.float().numpy()) for name, values in said.items()]
        found: dict[str, list[Floats]] = {}
        for name, rows, values in team().chained(own):
            one = found.setdefault(name, [np.zeros(0, dtype=np.float32)] * len(sheet))
            for row, value in zip(rows, values, strict=True):
                one[row] = value
        return found

    @property
    def version(self) -> tuple[int, ...]:
        """Changes whenever a trained weight of the language model does."""
        return tuple(weight._version for _, weight in self.text.opened())

    def save(self, folder: Path, data_hash: str) -> None:
        """Write what was trained as safetensors and JSON with their hashes, all or nothing."""
        with replacing_folder(folder) as aside:
            save_file(state_of(self.model), aside / "heads.safetensors")
            save_file(self.text.trained_state(), aside / "text.safetensors")
            section = TypeAdapter(ModelSection).dump_python(self.model.section, mode="json")
            labels = {name: asdict(facts) for name, facts in self.model.labels.items()}
            seal(aside, FORMAT, model=section, labels=labels, hidden=self.model.hidden, data=data_hash)

    @classmethod
    def load(cls, folder: Path, data: Dataset) -> TrainedTexts:
        """Read a model folder. Raises `RunError` when a byte has changed, or it was trained on other data."""
        section = TypeAdapter(ModelSection).validate_python(unseal(folder, FORMAT, "genre train")["model"])
        loaded = load(section.backbone)
        text, _ = build(section, loaded)
        text.load_state_dict(load_file(folder / "text.safetensors"), strict=False)
        return cls(load_heads(folder, data, loaded), text.eval(), loaded)


def load_heads(folder: Path, data: Dataset, loaded: Any) -> TextTaskModel:
    """The towers and heads of a model folder, over a language model. Raises `RunError` as `TrainedTexts.load` does."""
    manifest = unseal(folder, FORMAT, "genre train")
    if manifest["data"] != data.hash:
        raise RunError(f"{folder}: was trained on other data than those here; run 'genre train' again")
    section = TypeAdapter(ModelSection).validate_python(manifest["model"])
    labels = TypeAdapter(dict[str, LabelFacts]).validate_python(manifest["labels"])
    language = language_of(loaded)
    # Without output vectors no head can start from a word; it need not, as what was saved is put in.
    model = TextTaskModel(section, labels, manifest["hidden"], None if language.vocabulary is None else language)
    try:
        model.load_state_dict(load_file(folder / "heads.safetensors"))
    except RuntimeError as error:
        raise RunError(f"{folder}: its weights are of another version of the model; run 'genre train' again") from error
    return model.eval()


@dataclass
class PairReader:
    """A trained `cross` model: what every head says of a person's history and an item, read together."""

    trained: TrainedTexts
    data: Dataset

    @property
    def heads(self) -> dict[str, Head]:
        """The task heads by name."""
        return self.trained.heads

    @property
    def ranking_head(self) -> None:
        """None: it cannot rank all items."""

    @cached_property
    def writer(self) -> Writer:
        """What writes its prompts."""
        return Writer(self.trained.model.section, self.trained.loaded, self.data)

    @cached_property
    def offsets(self) -> dict[str, Offset]:
        """What was counted for its heads."""
        vectors = partial(pretrained_items, self.trained.model.section, self.data)
        return offsets_of(self.heads, Log.of(self.data), self.data.items.num_rows, vectors)

    def score_next(self, histories: Histories) -> Floats:
        """Nothing: a pass for every item would take too long. Raises `GenreError` that says so."""
        raise GenreError("a cross model scores pairs, not all items: retrieve with other sources, set pipeline.rerank")

    def item_vectors(self) -> Floats:
        """Nothing either: it reads items only together with a history. Raises `GenreError`."""
        raise GenreError("a cross model has no item vectors")

    def predict(self, head: str, histories: Histories, items: Ints, owner: Ints | None = None) -> Floats:
        """What ``head`` says of one item a person, or of each item and its ``owner``: ``[items]``."""
        person = np.arange(len(items)) if owner is None else owner
        prompts = self.writer.pairs(histories, person, items)
        nothing = {name: np.full(len(items), np.nan, dtype=np.float32) for name in self.heads}
        offsets = {name: one.of_pairs(histories, person, items) for name, one in self.offsets.items()}
        sheet = Sheet(prompts, [prompt.tokens for prompt in prompts], nothing, offsets=offsets)
        return np.array(self.trained.answers(sheet)[head], dtype=np.float32)
