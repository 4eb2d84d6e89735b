"""Low-rank adaptation that finds out where rank is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from genre.adapters import Part
from genre.component import component

if TYPE_CHECKING:
    from genre.stack import Stack, Tuning


@component
class AdaLoRA:
    """As `lora`, but every change begins with more rank than it will keep, and what matters least to the loss is taken
    away step by step: in the end some matrices have more than ``target_r``, others less.

    Worth it with many ``targets`` and ``layers``, where one rank for all is wasteful; `lora` with few. The schedule is
    laid over ``train.epochs``: a training that stops early has not come down to the target yet.
    Zhang et al., AdaLoRA (2023), https://arxiv.org/abs/2303.10512; by the peft library.
    """

    init_r: PositiveInt = 12
    """Rank of every change at first; larger leaves more to choose from."""
    target_r: PositiveInt = 8
    """Mean rank at the end, below ``init_r``; larger can change more."""
    alpha: PositiveInt = 16
    """Scale of the change, divided by ``init_r``; larger moves the model faster."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the change's inputs set to zero while training; larger over-fits less."""
    tinit: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the steps before the first rank is taken away; larger judges later, by better learned changes."""
    tfinal: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """Share of the steps, at the end, that train the ranks that are left; larger takes rank away sooner."""
    beta: Annotated[float, Field(gt=0, lt=1)] = 0.85
    """How much of the last step's judgement of what matters stays in the next; larger is steadier."""
    orthogonality: NonNegativeFloat = 0.5
    """Weight of the penalty that keeps the directions of a change apart; larger keeps them further apart."""
    layers: PositiveInt = 2
    """How many layers, from the top; those below are computed once. More can change more and take longer."""
    targets: Annotated[tuple[Part, ...], Field(min_length=1)] = ("query", "value")
    """Weight matrices changed in each layer: of query, key, value, output (attention), up, down (feed-forward net);
    more can change more, ``up`` and ``down`` most of all."""

    @model_validator(mode="after")
    def _there_is_something_to_take_away(self) -> AdaLoRA:
        if self.target_r >= self.init_r:
            raise ValueError(
                f"target_r {self.target_r} must be below init_r {self.init_r}; use lora for one fixed rank"
            )
        if self.tinit + self.tfinal >= 1:
            raise ValueError(
                f"tinit {self.tinit:g} and tfinal {self.tfinal:g} leave no steps between; lower one of them"
            )
        return self

    def taps(self, depth: int) -> tuple[int, ...]:
        return (max(0, depth - self.layers),)

    def apply(self, stack: Stack) -> Tuning:
        from peft import AdaLoraConfig

        from genre.adapterlayers import RankSchedule, inject
        from genre.stack import Tuning

        config = AdaLoraConfig(
            init_r=self.init_r,
            target_r=self.target_r,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            beta1=self.beta,
            beta2=self.beta,
            orth_reg_weight=self.orthogonality,
            total_step=1,  # the schedule sets it, once it knows
            target_modules=stack.parts(self.targets),
        )
        inject(stack, config)
        ranks = RankSchedule(stack, config, self.tinit, self.tfinal)
        return Tuning(penalty=ranks.penalty, after_step=ranks.after_step, state=ranks.state, restore=ranks.restore)
