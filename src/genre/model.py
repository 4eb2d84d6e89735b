"""The model: text encoder, item and user towers, task heads; and a trained one, ready to answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from genre.balancing import Balance
from genre.batches import Batch
from genre.clock import times
from genre.config import Config, ModelSection
from genre.data import Dataset, Histories, Log
from genre.errors import GenreError, RunError
from genre.files import replacing_folder, seal, unseal
from genre.heads import MOST_CLASSES, Examples, Head, LabelFacts, Language
from genre.hidden import PassingStates, hidden_states, tokenize
from genre.labels import Label
from genre.prompts import item_texts
from genre.textencoder import TextEncoder, build, load, pretrained_items, pretrained_vectors
from genre.types import Floats, Ints

if TYPE_CHECKING:
    from genre.backbones import Loaded

FORMAT = 1
"""Version of the model folder's layout."""


@dataclass(frozen=True)
class Facts:
    """What the model needs to know of the log it is trained on."""

    n_items: int
    actions: tuple[str, ...]
    value_mean: float
    value_std: float
    labels: dict[str, LabelFacts]
    """What the training rows say of each head's label."""
    hidden_size: int
    """Width of the language model; 0 when text is not used."""

    @classmethod
    def of(cls, log: Log, heads: dict[str, Head], hidden_size: int) -> Facts:
        """The facts of a training log."""
        labels = {name: label_facts(values) for name, values in labels_of(log, heads).items()}
        return cls(log.n_items, log.actions, *_moments(log.value), labels, hidden_size)


def labels_of(log: Log, heads: dict[str, Head]) -> dict[str, Floats]:
    """The label of every row, for each head that has one; tokens and texts are no labels of a row."""
    asked = {name: head.label for name, head in heads.items() if head.label and head.predicts not in ("tokens", "text")}
    return {name: Label.parse(label).evaluate(log) for name, label in asked.items()}


def label_facts(values: Floats, names: tuple[str, ...] = ()) -> LabelFacts:
    """What some rows say of a label; ``names`` are the words that its values number, if they do."""
    classes, counts = np.unique(values[~np.isnan(values)], return_counts=True)
    mean, std = _moments(values)
    if len(classes) > MOST_CLASSES:
        return LabelFacts(mean, std)
    words = tuple(names[int(one)] for one in classes) if names else ()
    return LabelFacts(mean, std, tuple(classes.tolist()), tuple(counts.tolist()), words)


def _moments(values: Floats) -> tuple[float, float]:
    known = values[~np.isnan(values)]
    return (float(known.mean()), float(known.std())) if len(known) else (0.0, 0.0)


class MultiTaskModel(nn.Module):
    """Two towers and task heads over them. The item tower reads text vectors, which `TextEncoder` makes."""

    seen: Tensor
    """``[items]``: 1 for items of the training log; the others have no learned part of their own."""

    def __init__(self, section: ModelSection, facts: Facts, seen: Tensor, language: Language | None) -> None:
        super().__init__()
        dim = section.dim
        self.section, self.facts = section, facts
        self.register_buffer("seen", seen.float())
        if section.text:
            self.project = nn.Linear(facts.hidden_size, dim)
        if section.ids:
            self.ids = nn.Embedding(facts.n_items, dim)
            nn.init.normal_(self.ids.weight, std=0.02)
        self.action = nn.Embedding(len(facts.actions) + 1, dim)
        nn.init.zeros_(self.action.weight)
        self.value = nn.Linear(1, dim, bias=False)
        nn.init.zeros_(self.value.weight)
        self.dropout = nn.Dropout(section.dropout)
        self.user = section.user.build(dim, section.max_history, section.dropout)
        tasks = [name for name, head in section.heads.items() if head.reads == "features"]
        self.towers = section.towers.build(3 * dim, dim, tasks)
        width = section.towers.width_of(3 * dim, dim)
        built = {
            name: head.build(width, facts.labels.get(name, LabelFacts()), language)
            for name, head in section.heads.items()
        }
        # Prefixed, as a module may not be called `type`, `items` or `train`, and a head may.
        self.heads = nn.ModuleDict({f"head_{name}": module for name, module in built.items()})
        weights = {name: head.weight for name, head in section.heads.items()}
        self.balance: Balance = section.balance.build(weights)  # type: ignore[assignment]

    def items(self, text: Tensor | None, rows: Tensor) -> Tensor:
        """Vectors of the catalogue's ``rows`` from their text vectors ``[n, hidden]``: ``[n, dim]``."""
        vectors = torch.zeros(len(rows), self.section.dim) if text is None else self.project(text)
        if not self.section.ids:
            return vectors
        keep = self.seen[rows]
        if self.training and text is not None:
            keep = keep * (torch.rand(len(rows)) >= self.section.id_dropout)
        return vectors + self.ids(rows) * keep[:, None]

    @times("user encoder")
    def states(self, events: Tensor, mask: Tensor, value: Tensor, action: Tensor) -> Tensor:
        """User states ``[b, l + 1, dim]`` from the item vectors, amounts and actions of the events ``[b, l, ...]``."""
        scaled = (value - self.facts.value_mean) / (self.facts.value_std or 1.0)
        amounts = self.value(torch.nan_to_num(scaled)[..., None])
        events = events + amounts + self.action(torch.where(action < 0, len(self.facts.actions), action))
        return self.user(self.dropout(events) * mask[..., None], mask)

    @times("heads")
    def losses(self, batch: Batch, vectors: Tensor, views: Tensor | None = None) -> dict[str, Tensor]:
        """Loss of every head, with ``vectors [n, dim]`` of the batch's rows."""
        states = self.states(vectors[batch.history], batch.mask, batch.value, batch.action)
        users, items = states[batch.window, batch.state], vectors[batch.item]
        features = self.features(users, items)
        losses = {}
        for name, head in self.section.heads.items():
            examples = Examples(
                labels=batch.labels.get(name, torch.full((len(items),), torch.nan)),
                features=features.get(name, items),
                group=batch.group,
                users=users,
                items=items,
                positive=batch.positive,
                candidates=vectors[batch.candidates],
                views=None if views is None else views[batch.candidates],
                target=batch.target,
                log_q=batch.log_q,
                seen=batch.seen,
            )
            losses[name] = head.loss(self.heads[f"head_{name}"], examples)
        return losses

    def features(self, users: Tensor, items: Tensor) -> dict[str, Tensor]:
        """What each head that reads features is given, of people and items that meet: ``[m, width]`` by head."""
        return self.towers(torch.cat([users, items, users * items], -1))

    def shared(self) -> list[Tensor]:
        """The weights that more than one head depends on."""
        alone = {id(p) for part in (self.heads, self.balance) for p in part.parameters()}
        return [p for p in self.parameters() if id(p) not in alone]


@dataclass
class TrainedModel:
    """A model that answers: who wants what next, and what every head predicts. A `genre.types.Recommender`."""

    model: MultiTaskModel
    vectors: Tensor
    """``[items, dim]``."""
    text: TextEncoder | None
    """The text encoder of a model just trained; of one that was read from a folder, `embed` loads it when needed."""
    folder: Path | None = None
    _latest: tuple[Histories, Tensor] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def heads(self) -> dict[str, Head]:
        """The task heads by name."""
        return self.model.section.heads

    @property
    def ranking_head(self) -> str | None:
        """The head that ranks all items; None if the model has none."""
        return next((name for name, head in self.heads.items() if head.predicts == "ranking"), None)

    def item_vectors(self) -> Floats:
        """``[items, dim]``."""
        return self.vectors.numpy()

    @torch.inference_mode()
    def score_next(self, histories: Histories) -> Floats:
        """Score of every item as each person's next: ``[people, items]``. Raises `GenreError` without such a head."""
        asking, vectors = self.asking(histories), self.item_vectors()
        # A matrix times one vector is a matter of reading the matrix; BLAS is told so by shapes.
        return (vectors @ asking[0])[None] if len(asking) == 1 else asking @ vectors.T

    @torch.inference_mode()
    def asking(self, histories: Histories) -> Floats:
        """Vectors whose products with those of the items are `score_next`: ``[people, dim]``."""
        if self.ranking_head is None:
            raise GenreError("this model has no head that ranks; add one, such as next_item, to model.heads")
        head: Any = self.model.heads[f"head_{self.ranking_head}"]
        return head.asking(self.user_vectors(histories)).numpy()

    @torch.inference_mode()
    def predict(self, head: str, histories: Histories, items: Ints, owner: Ints | None = None) -> Floats:
        """What ``head`` predicts of one item a person, or of each item and its ``owner``: ``[items]``."""
        users, vectors = self.user_vectors(histories), self.vectors[torch.from_numpy(items.astype(np.int64))]
        if owner is not None:
            users = users[torch.from_numpy(owner.astype(np.int64))]
        nothing = torch.full((len(users),), torch.nan)
        features = self.model.features(users, vectors).get(head, vectors)
        examples = Examples(nothing, features, torch.full((len(users),), -1), users, vectors)
        return self.heads[head].predict(self.model.heads[f"head_{head}"], examples).numpy()

    @torch.inference_mode()
    def user_vectors(self, histories: Histories, block: int = 512) -> Tensor:
        """Vector of each person from their latest events, and their text as if it were an item: ``[people, dim]``."""
        if self._latest is not None and self._latest[0] is histories and not self.model.training:
            return self._latest[1]
        if self.model.training:
            self.model.eval()
        parts = [self._block(histories.take(slice(i, i + block))) for i in range(0, len(histories), block)]
        found = torch.cat(parts) if parts else torch.zeros(0, self.model.section.dim)
        if len(histories) <= block:
            # The heads are asked of the same people, one after another.
            self._latest = (histories, found)
        return found

    def _block(self, histories: Histories) -> Tensor:
        said = [i for i, text in enumerate(histories.texts) if text]
        recent = histories.latest(self.model.section.max_history - bool(said))
        lengths = torch.from_numpy(recent.lengths.copy())
        lengths[said] += 1
        mask = torch.arange(max(1, int(lengths.max()))) < lengths[:, None]
        events, value = torch.zeros(*mask.shape, self.model.section.dim), torch.full(mask.shape, torch.nan)
        action = torch.full(mask.shape, -1)
        owner = torch.from_numpy(recent.owner)
        at = torch.from_numpy(recent.lengths[recent.owner] - 1 - recent.age)
        events[owner, at] = self.vectors[torch.from_numpy(recent.item.astype(np.int64))]
        value[owner, at] = torch.from_numpy(recent.value)
        action[owner, at] = torch.from_numpy(recent.action.astype(np.int64))
        if said:
            texts = self.model.project(torch.from_numpy(self.embed([histories.texts[i] or "" for i in said])))
            events[said, lengths[said] - 1] = texts
        states = self.model.states(events, mask, value, action)
        return states[torch.arange(len(states)), lengths]

    @torch.inference_mode()
    def embed(self, texts: list[str]) -> Floats:
        """Texts through the fine-tuned language model: ``[texts, hidden]``. Raises `GenreError` without text."""
        section = self.model.section
        if not section.text:
            raise GenreError("this model does not read text (model.text is false)")
        loaded, encoder = self._language_model
        asked = [loaded.reading.query + text for text in texts]
        states = PassingStates.of(loaded, tokenize(loaded, asked, section.max_tokens), encoder.stack.taps)
        return encoder.eval().encode(states, np.arange(len(texts)), 8192).numpy()

    @torch.inference_mode()
    def vectors_of(self, data: Dataset) -> Floats:
        """Vectors of items that came after training, from their texts alone: ``[items, dim]``; zeros without text."""
        section = self.model.section
        if not section.text:
            return np.zeros((data.items.num_rows, section.dim), dtype=np.float32)
        loaded, encoder = self._language_model
        tokens = tokenize(loaded, item_texts(section, loaded, data), section.max_tokens)
        states = hidden_states(loaded, tokens, encoder.stack.taps)
        return self.model.project(encoder.eval().encode(states, np.arange(len(tokens)), 8192)).numpy()

    def joined(self, vectors: Floats) -> TrainedModel:
        """The model with further items behind those that it has."""
        return replace(self, vectors=torch.cat([self.vectors, torch.from_numpy(vectors)]))

    @cached_property
    def _language_model(self) -> tuple[Loaded, TextEncoder]:
        """The language model and its fine-tuned upper part."""
        loaded = load(self.model.section.backbone)
        if self.text is not None:
            return loaded, self.text
        assert self.folder is not None
        encoder, _ = build(self.model.section, loaded)
        encoder.load_state_dict(load_file(self.folder / "text.safetensors"), strict=False)
        return loaded, encoder

    def save(self, folder: Path, data_hash: str) -> None:
        """Write the model as safetensors and JSON with their hashes, all or nothing. The untouched weights stay out."""
        with replacing_folder(folder) as aside:
            save_file(state_of(self.model), aside / "towers.safetensors")
            save_file({"vectors": self.vectors.contiguous()}, aside / "items.safetensors")
            if self.text is not None:
                save_file(self.text.trained_state(), aside / "text.safetensors")
            section = TypeAdapter(ModelSection).dump_python(self.model.section, mode="json")
            seal(aside, FORMAT, model=section, facts=asdict(self.model.facts), data=data_hash)

    @classmethod
    def load(cls, folder: Path, data: Dataset) -> TrainedModel:
        """Read a model folder. Raises `RunError` when a byte has changed, or it was trained on other data."""
        manifest = unseal(folder, FORMAT, "genre train")
        if manifest["data"] != data.hash:
            raise RunError(f"{folder}: was trained on other data than those here; run 'genre train' again")
        section = TypeAdapter(ModelSection).validate_python(manifest["model"])
        facts = TypeAdapter(Facts).validate_python(manifest["facts"])
        model = MultiTaskModel(section, facts, torch.zeros(facts.n_items), None)
        try:
            model.load_state_dict(load_file(folder / "towers.safetensors"))
        except RuntimeError as error:
            raise RunError(
                f"{folder}: its weights are of another version of the model; run 'genre train' again"
            ) from error
        return cls(model.eval(), load_file(folder / "items.safetensors")["vectors"], None, folder)


def language_of(loaded: Loaded) -> Language:
    """What heads need of a language model."""

    def number_of(text: str) -> list[int]:
        return loaded.tokenizer(text, add_special_tokens=False)["input_ids"]

    return Language(loaded.hidden_size, loaded.vocabulary, number_of, loaded.reading.temperature)


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """Copies of a module's weights."""
    return {name: tensor.detach().clone().contiguous() for name, tensor in module.state_dict().items()}


def text_vectors(config: Config, data: Dataset) -> Floats:
    """Item texts as the pretrained language model sees them, as `genre.textencoder.item_vectors` says."""
    return pretrained_items(config.model, data)


def text_embedder(config: Config) -> Callable[[list[str]], Floats]:
    """The same for any texts; the language model is loaded when it is first needed."""

    def embed(texts: list[str]) -> Floats:
        loaded = load(config.model.backbone)
        asked = [loaded.reading.query + text for text in texts]
        return pretrained_vectors(loaded, asked, config.model.max_tokens, keep=False)

    return embed
