"""The configuration: one typed section a stage. `genre.configfile` reads it from YAML."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from genre.adapters import Adapter
from genre.backbones import Backbone
from genre.balancers import Balancer
from genre.component import Slot
from genre.compressors import Compressor
from genre.datasets import Reader
from genre.executors import Executor
from genre.features import Feature
from genre.filters import Filter
from genre.formulations import Formulation
from genre.heads import Head
from genre.indexes import VectorIndex
from genre.learnsection import LearnSection
from genre.metrics import Metric
from genre.optimizers import Optimizer
from genre.perturbations import Perturbation
from genre.refreshsection import RefreshSection
from genre.rerankers import ListReranker
from genre.scorers import Scorer
from genre.searchsection import SearchSection
from genre.sections import Dropout, Share, section, slot
from genre.servesection import ServeSection
from genre.sources import Source
from genre.splits import Split
from genre.towers import Towers
from genre.trackers import Tracker
from genre.users import UserEncoder


@section
class DataSection:
    """Where the log comes from and how it is divided."""

    reader: Annotated[Reader, Slot("datasets")]
    """The format of the log and where it lies."""
    split: Annotated[Split, Slot("splits")] = slot("splits", "last")
    """Which interactions train, validate and test."""
    ties: Literal["file", "shuffle"] = "file"
    """Order of a user's events at the same second: as in the file, or shuffled by the seed, to see if it matters."""
    actions: list[str] = field(default_factory=list)
    """Actions that teach and make histories, such as [purchase]; all if none is named. Events of others stay in the
    test alone, so that the same is asked with and without them; name `skip` too where a head learns from it."""
    seed: NonNegativeInt | None = None
    """Of what is drawn here: a split by chance, shuffled ties. Without it the whole run's `seed`; set it to train with
    several seeds on one and the same split, which is what makes their results comparable."""
    max_rejected: Share = 0.05
    """Stop when more than this share of the rows cannot be used; larger is more forgiving."""


@section
class ModelSection:
    """The model: backbone, adapter, user encoder, task heads."""

    formulation: Annotated[Formulation, Slot("formulations")] = slot("formulations", "two_tower")
    """What the language model reads: each item (two_tower), each row's text (text), a person and an item (cross)."""
    backbone: Annotated[Backbone, Slot("backbones")] = slot("backbones", "minilm")
    """The pretrained language model."""
    adapter: Annotated[Adapter, Slot("adapters")] = slot("adapters", "lora")
    """Which of its weights are fine-tuned, and how."""
    template: str = "{title}"
    """An item's text: words in braces are columns of the items table; an empty column leaves nothing behind."""
    max_tokens: Annotated[int, Field(ge=4, le=512)] = 48
    """Longest item text, in tokens, the rest is cut; larger sees more of the text and costs time in proportion."""
    pooling: Literal["mean", "first", "last", "attention"] = "mean"
    """How token vectors become one: their mean, the first ([CLS]) or the last token, or learned attention weights."""
    dim: PositiveInt = 128
    """Length of item and user vectors; larger can hold more and over-fits sooner."""
    text: bool = True
    """Whether item vectors are made from text; without it the language model is not used at all."""
    ids: bool = True
    """Whether item vectors also have a learned part for each item: what people do with it beyond what its text says."""
    id_dropout: Dropout = 0.2
    """Share of items trained without that part in each step, so that text alone works; larger helps new items."""
    user: Annotated[UserEncoder, Slot("users")] = slot("users", "transformer")
    """How a history becomes a user vector."""
    max_history: PositiveInt = 50
    """Latest events of a history that are read; larger remembers more and costs time."""
    heads: dict[str, Annotated[Head, Slot("heads")]] = field(
        default_factory=lambda: {"next": Slot("heads").build("next_item")}
    )
    """The tasks, by name, learned together."""
    towers: Annotated[Towers, Slot("towers")] = slot("towers", "separate")
    """How the tasks share what lies between the features and their heads."""
    balance: Annotated[Balancer, Slot("balancers")] = slot("balancers", "fixed")
    """How the tasks' losses are weighed."""
    dropout: Dropout = 0.2
    """Share of values set to zero while training, in the user encoder and before it; larger over-fits less."""


@section
class LearningRates:
    """Step sizes of the optimizer; larger learns faster until it diverges."""

    backbone: PositiveFloat = 1e-3
    """For the language model's trained weights."""
    rest: PositiveFloat = 2e-3
    """For everything else, while the language model is held still."""
    rest_finetune: PositiveFloat = 3e-4
    """For everything else, while the language model is fine-tuned: smaller, as it has been trained by then."""


@section
class EarlyStopping:
    """When to stop: at the best validation result."""

    metric: str = "ndcg@10"
    """Any metric of the evaluation, ``name@k`` or ``head.name`` (``rating.rmse``)."""
    patience: PositiveInt = 5
    """Epochs without a better result before stopping; larger waits longer."""


@section
class TrainSection:
    """How the model is trained: first all but the language model, then everything that the adapter opens."""

    warmup_epochs: NonNegativeInt = 20
    """Most epochs with the language model held still; cheap, as its text vectors are computed once."""
    epochs: NonNegativeInt = 5
    """Most epochs of fine-tuning the language model with the rest; 0 leaves it as it came."""
    batch_size: PositiveInt = 64
    """Users a step; larger is steadier, faster an epoch, and takes fewer steps."""
    steps_per_round: PositiveInt = 4
    """Steps that share one pass through the language model; larger is faster, and moves it less often."""
    lr: LearningRates = field(default_factory=LearningRates)
    """Learning rates."""
    optimizer: Annotated[Optimizer, Slot("optimizers")] = slot("optimizers", "adamw")
    """How a gradient becomes a step."""
    weight_decay: NonNegativeFloat = 0.01
    """Pull of the weights to zero; larger over-fits less."""
    lr_warmup: Share = 0.05
    """Share of the steps during which the rates rise from zero; larger is safer with large rates."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """The rates afterwards: they fall to zero as a cosine or evenly, or stay; all by the most epochs there can be."""
    clip: PositiveFloat = 1.0
    """Longest gradient (L2 norm); longer ones are shortened to it."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of an average of the weights over the steps that stays in each (0.99): the average is what is measured on
    validation and kept. Larger averages over more steps, about 1 / (1 - ema); none keeps the weights of the last."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Numbers in which the language model computes while it learns; bfloat16 is faster where the processor has it, and
    coarser. Weights, optimizer, validation and the finished model stay float32."""
    checkpointing: bool = False
    """Whether inner values of the trained layers are computed anew for the gradient: less memory, a third more time."""
    early_stopping: EarlyStopping = field(default_factory=EarlyStopping)
    """When to stop."""
    token_budget: Annotated[int, Field(ge=256)] = 8192
    """Most tokens that go through the language model at a time; larger is faster until the cache or memory is full."""
    graph_tokens: NonNegativeInt = 32768
    """Most tokens of a round, with padding, whose inner values `two_tower` keeps for the gradient's way back; the
    layers of a larger round are computed twice. Larger saves up to a quarter of their time and takes about 50 kB a
    token for two layers of MiniLM; 0 keeps none, as `checkpointing` does."""
    threads: PositiveInt | Literal["auto"] = "auto"
    """Processor threads that compute; auto tries for two seconds which number multiplies this model's matrices fastest,
    once a machine (the cache folder's threads.json keeps it), and leaves alone what OMP_NUM_THREADS says; while other
    work keeps the cores busy it tries nothing. More are faster up to the cores that are free."""
    cache_gb: NonNegativeFloat = 4.0
    """Most disk space for states below the trained layers of one part's texts; above it they are computed each time."""
    shots: PositiveInt | None = None
    """Train on so many texts (of `cross`: interactions, each with its negatives), drawn by the seed as evenly over
    datasets and the first head's classes, or an amount's quarters, as can be; the validation part is drawn likewise and
    as large, the test part stays whole. None means all; more learn more and cost labels."""
    contrastive_start: NonNegativeInt = 0
    """Epochs, after the warm-up, in which the language model learns to bring texts of one class together and others
    apart; the heads then warm up again. For `text` with few shots and a binary or multiclass head, whose first is meant
    (SetFit, Tunstall et al. 2022, https://arxiv.org/abs/2209.11055); more fit the classes closer. 0 for none."""
    perturb: Annotated[Perturbation, Slot("perturbations")] | None = None
    """Adversarial or consistency training while the language model learns, for `text` and `cross`; none as a rule."""
    temperature: Annotated[float, Field(ge=1)] | None = None
    """Evens out the datasets of a `union`, for `text` and `cross`: a dataset's share of the rows of an epoch goes with
    its size to the power of 1 / temperature; 1 keeps sizes, larger is more even. None reads every row once an epoch."""
    checkpoint_every: PositiveInt = 1
    """Epochs between checkpoints to resume from."""


@section
class RerankSection:
    """The top of each list, read again by a `cross` model."""

    top: PositiveInt = 20
    """Items a person that are read; larger can mend more and costs a pass of the language model each."""
    head: str = "chosen"
    """The head whose prediction orders them. How much it counts beside the scorer is chosen on validation."""


FEATURES = ["standing", "history", "popularity", "recency", "text_similarity", "attributes", "predictions"]


@section
class PipelineSection:
    """From a query to a slate."""

    sources: list[Annotated[Source, Slot("sources")]] = slot("sources", ["model", "popular"])
    """Where candidates come from. Fields that are left out and have a grid are tuned on validation."""
    filters: list[Annotated[Filter, Slot("filters")]] = slot("filters", ["seen"])
    """What may not be shown."""
    features: list[Annotated[Feature, Slot("features")]] = slot("features", FEATURES)
    """What a scorer that learns from more than scores (`lambdamart`) reads besides; the others leave it alone."""
    scorer: Annotated[Scorer, Slot("scorers")] = slot("scorers", "weighted")
    """How what is known of a candidate becomes one score."""
    index: Annotated[VectorIndex, Slot("indexes")] = slot("indexes", "auto")
    """How sources that score by vectors (`model`, `content_knn`) find their best: by asking all items, or an index."""
    rerank: RerankSection | None = None
    """Reading the top again, for ``model.formulation: cross``; none leaves the scorer's order."""
    rerankers: list[Annotated[ListReranker, Slot("rerankers")]] = slot("rerankers", [])
    """What then arranges the list for more than its scores, one after another: variety, quotas, exposure, rules. They
    are part of what is evaluated; nothing is fitted anew when they change."""


BASELINES = ["popular", "recent", "item_knn", "ease", "ials", "transitions", "content_knn"]
METRICS = ["recall", "ndcg", "mrr", "hit_rate", "map", "auc", "coverage", "gini", "novelty", "diversity"]
LABEL_METRICS = ["label_auc", "grouped_auc", "logloss", "calibration_error", "rmse", "mae", "spearman"]
LABEL_METRICS += ["accuracy", "macro_f1", "multiclass_logloss", "entity_f1", "perplexity"]


@section
class EvaluateSection:
    """What is measured, and beside what."""

    metrics: list[Annotated[Metric, Slot("metrics")]] = slot("metrics", METRICS + LABEL_METRICS)
    """Measures of rankings and of the heads' predictions; ``ndcg@10`` is short for ``{type: ndcg, k: [10]}``."""
    baselines: list[Annotated[Source, Slot("sources")]] = slot("sources", BASELINES)
    """The simple methods every result stands beside, each tuned on validation."""
    candidates: Literal["all_unseen", "impression", "shown"] = "all_unseen"
    """What is ranked: every item the user has not had, what was shown together in a test impression, or all that the
    user was shown in the test, for logs that know what was passed over but not with what it was shown."""
    bootstrap: PositiveInt = 1000
    """Resamples of the users behind each 95 % interval; larger is steadier and slower."""
    examples: NonNegativeInt = 5
    """Users whose recommendations, before and after fine-tuning, the report prints."""
    shots: tuple[NonNegativeInt, ...] = (0, 1, 2, 5, 10)
    """Numbers of latest events that a sample of the test is asked with, as if no more were known of each person: the
    curve of a cold start. More points cost time; none given draws no curve."""


FORMS: dict[str, list[Any]] = {
    **{name: [name] for name in ("onnx", "openvino", "dynamic_int8", "ctranslate2", "static_vectors")},
    "small": ["layer_drop", "distill", "dynamic_int8"],
}


@section
class CompressSection:
    """How `genre compress` makes the fine-tuned language model smaller and faster."""

    forms: dict[Annotated[str, Field(pattern=r"^[\w.-]+$")], list[Annotated[Compressor, Slot("compressors")]]] = field(
        default_factory=lambda: {
            name: [Slot("compressors").build(step) for step in steps] for name, steps in FORMS.items()
        }
    )
    """By name, the steps that each form is made by, in order. One of the default that the language model does not allow
    is left out."""
    budget: str | None = None
    """What a form may cost, as in ``p99_ms=5, loss=1%``; the cheapest that keeps to it on validation is chosen. Without
    it, what each costs is only told."""


@section
class Config:
    """Everything about one recommender."""

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")] = "run"
    """Name of the run folder under ``runs/``."""
    seed: NonNegativeInt = 7
    """Seed of everything random; the same seed gives the same result on the same machine."""
    data: DataSection
    """The log."""
    model: ModelSection = field(default_factory=ModelSection)
    """The model."""
    train: TrainSection = field(default_factory=TrainSection)
    """Training."""
    pipeline: PipelineSection = field(default_factory=PipelineSection)
    """Recommending."""
    evaluate: EvaluateSection = field(default_factory=EvaluateSection)
    """Measuring."""
    compress: CompressSection = field(default_factory=CompressSection)
    """Making the language model smaller."""
    learn: LearnSection = field(default_factory=LearnSection)
    """Exploring, judging policies from logs, and learning from them."""
    serve: ServeSection = field(default_factory=ServeSection)
    """Answering over HTTP."""
    refresh: RefreshSection = field(default_factory=RefreshSection)
    """Making the next model from this one and what people did since."""
    search: SearchSection = field(default_factory=SearchSection)
    """Trying values for what is left open by ``{search: ...}``."""
    track: list[Annotated[Tracker, Slot("trackers")]] = slot("trackers", ["tensorboard"])
    """Where learning curves and results are sent, besides the run folder."""
    executor: Annotated[Executor, Slot("executors")] = slot("executors", "local")
    """Where training and evaluation are done, and by how many workers; no part of what they make."""
