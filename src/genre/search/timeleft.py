"""How long a search still takes: its trials, what the leaders are trained again for, and the runs that are tested.

Trials are not alike: their settings differ, some train a model that another has trained, some are stopped early, some
fail. What ended says how long each sort takes; what runs says how far it is; and before any could be stopped the
pruner says what share of a trial it leaves. Work is then laid out on the workers, the next piece to whichever is free.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from genre.search.outcomes import default_number, ordered

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from genre.search.loop import Search

TOOK = "took"
"""In the result of a trial: seconds that its work took, without the time in which nobody ran the search."""
BELIEF = 8
"""Trials that what the pruner says of itself counts as, beside those that it could have stopped."""
OVERDUE = 0.25
"""Share of a trial that is thought to be left of one that runs longer than any that ended."""


@dataclass(frozen=True)
class Ended:
    """A trial that came to an end."""

    number: int
    state: str
    seconds: float
    epochs: float = 0.0
    train_seconds: float = 0.0
    """Of its training, which another trial may have done."""
    model_seconds: float = 0.0
    """Until it had a trained model: by training, by waiting for another, or at once."""
    model: str | None = None
    """The training; trials of the same one share it."""

    @property
    def rest(self) -> float:
        """Seconds of all that comes after the training."""
        return max(0.0, self.seconds - self.model_seconds)


def seconds_left(search: Search, trials: list[FrozenTrial]) -> float | None:
    """Seconds until the search has ended: trials, the leaders again, the runs on test. None before any ended."""
    ended, pruner = ended_of(trials), search.section.pruner
    stops = pruner.share(search.epochs()) if search.column else 1.0
    n = search.workers.n
    others = [one for one in trials if one.state.name == "RUNNING" and one.number not in search.since]
    running = [(search.clock() - at, search.standing.get(number, (0, None))[0]) for number, at in search.since.items()]
    costs = costs_of(ended, search.epochs(), stops, pruner.spared(), len(running))
    if costs is None:
        return None
    more = max(0, search.budget() - len(ended) - len(running) - len(others))
    seconds = trials_left(ended, running, more, n, costs)
    if (minutes := search.section.minutes) is not None:
        within = 60 * minutes - search.before - (search.clock() - search.began)
        seconds = min(seconds, max(0.0, within) + (costs.trial if running else 0.0))
    seconds += makespan([], _again(search, trials, ended, costs), n)
    return seconds + makespan([], [costs.train + search.tested] * 2, n)


def _again(search: Search, trials: list[FrozenTrial], ended: Sequence[Ended], costs: Costs) -> list[float]:
    """Seconds of each training again, of the defaults and of the leaders, who may yet be others than now."""
    default = default_number(trials, search.space)
    best = [one.number for one in ordered(trials, search.larger[0]) if one.number != default]
    leaders = min(search.section.leaders, max(0, search.budget() - 1))
    by_number = {one.number: one for one in ended}
    sure = by_number.get(-1 if default is None else default)
    stay = min(1.0, len(ended) / max(1, search.budget()))
    seen: set[str | None] = set()
    pieces = []
    for one in [sure, *(by_number[number] for number in best[:leaders])]:
        if one is None or one.state != "COMPLETE":
            continue
        # With each new seed a training is done once for all that share it.
        fresh = one.model is None or one.model not in seen
        seen.add(one.model)
        own = one.rest + (one.train_seconds if fresh else 0.0)
        other = costs.whole if pieces else costs.train + costs.rest
        pieces.append(own if one is sure else stay * own + (1 - stay) * other)
    return (pieces + [costs.whole] * max(0, leaders + 1 - len(pieces))) * search.section.repeats


def ended_of(trials: Iterable[FrozenTrial]) -> list[Ended]:
    """Those that came to an end, as they are stored."""
    found = []
    for one in trials:
        if not one.state.is_finished():
            continue
        result = one.user_attrs.get("result", {})
        # A failure that nobody timed was found after its process had gone, at any time.
        timed = one.duration is not None and one.state.name != "FAIL"
        whole = one.duration.total_seconds() if timed and one.duration is not None else 0.0
        trained, had = (float(result.get(name) or 0.0) for name in ("train_seconds", "model_seconds"))
        seconds, epochs = float(result.get(TOOK, whole)), float(result.get("epochs") or 0)
        found.append(Ended(one.number, one.state.name, seconds, epochs, trained, had, result.get("model")))
    return found


@dataclass(frozen=True)
class Costs:
    """What trials cost, as far as is known."""

    train: float
    """Seconds of a training to its end."""
    rest: float
    """Seconds of all else that a trial does."""
    novelty: float
    """Share of the trials that train a model which no other has trained."""
    epochs: float
    """Of a training to its end."""
    share: float
    """Of the work of a trial, how much is done until it is stopped, in the mean."""
    failing: float
    """Share of the trials that fail."""
    failed: float
    """Seconds of one that fails."""

    @property
    def whole(self) -> float:
        """Seconds of a trial that is not stopped."""
        return self.novelty * self.train + self.rest

    @property
    def trial(self) -> float:
        """Seconds of a trial in the mean."""
        return (1 - self.failing) * self.share * self.whole + self.failing * self.failed


def costs_of(
    ended: Sequence[Ended], most_epochs: int, spared: float = 1.0, start: int = 0, running: int = 0
) -> Costs | None:
    """What trials cost, from those that ended; None before any has.

    ``spared`` is the share of a trial that the pruner leaves by what is known of it before, and ``start`` the trials
    that say nothing of that, as it lets them end.
    """
    if not ended:
        return None
    failed = [one for one in ended if one.state == "FAIL"]
    done = [one for one in ended if one.state == "COMPLETE"]
    stopped = [one for one in ended if one.state == "PRUNED" and one.epochs]
    epochs = fmean([one.epochs for one in done]) if done else float(most_epochs)
    rest = fmean([one.rest for one in done]) if done else 0.0
    models = {one.model or one.number: one for one in done}
    # Those that were stopped would have trained on as they did.
    trains = [one.train_seconds for one in models.values()] + [o.seconds * epochs / o.epochs for o in stopped]
    train = fmean(trains) if trains else 0.0
    # The first always trains, which says nothing of those to come.
    novelty = (len(models) - 1) / (len(done) - 1) if len(done) > 1 else 1.0
    mean = novelty * train + rest
    told = [one for one in (*done, *stopped) if one.number >= start] if spared < 1 else []
    kept = [min(1.0, one.seconds / mean) if one.state == "PRUNED" else 1.0 for one in told if mean]
    return Costs(
        train,
        rest,
        novelty,
        epochs,
        (BELIEF * spared + sum(kept)) / (BELIEF + len(kept)),
        # What fails does so soon: what still runs is no failure, as a rule.
        len(failed) / (len(ended) + running + BELIEF / 2),
        fmean([one.seconds for one in failed]) if failed else 0.0,
    )


def trials_left(
    ended: Sequence[Ended], running: Sequence[tuple[float, int]], more: int, workers: int, costs: Costs
) -> float:
    """Seconds until the trials have ended: those that run, by seconds and epochs so far, and so many more.

    Of several at a time the short ones end first, so that what runs counts beside what ended.
    """
    totals = [one.seconds for one in ended if one.state == "COMPLETE"]
    expected = [_total(seconds, epochs, totals, costs) for seconds, epochs in running]
    known = len(totals) + len(expected)
    raised = (sum(totals) + sum(expected)) / (fmean(totals) * known) if totals and fmean(totals) else 1.0
    # A trial that was stopped early would have been as long as the others.
    each = costs.trial * (raised if workers > 1 else 1.0)
    left = [max(0.0, total - seconds) for total, (seconds, _) in zip(expected, running, strict=True)]
    # They differ as those before them, which leaves workers idle at the end.
    mean = fmean(totals) if totals else 0.0
    shapes = [one / mean for one in totals] if mean else [1.0]
    return makespan(left, [each * shapes[i % len(shapes)] for i in range(more)], workers)


def _total(seconds: float, epochs: int, totals: Sequence[float], costs: Costs) -> float:
    """Seconds that a trial which runs will have taken."""
    if epochs and costs.epochs:
        # Half of the next epoch is done, in the mean.
        return max(seconds, seconds * costs.epochs / min(epochs + 0.5, costs.epochs))
    longer = [one for one in totals if one > seconds]
    return fmean(longer) if longer else seconds + OVERDUE * costs.whole


def makespan(running: Sequence[float], more: Sequence[float], workers: int) -> float:
    """Seconds until all is done: what runs by what is left of it, and further pieces, each to whoever is free first."""
    free = sorted([*running, *[0.0] * max(0, workers - len(running))])
    heapq.heapify(free)
    last = max(free, default=0.0)
    for one in more:
        at = heapq.heappop(free) + one
        last = max(last, at)
        heapq.heappush(free, at)
    return last


def measuring_seconds(baselines: dict[str, list[dict[str, Any]]]) -> float:
    """Seconds of ranking and evaluating a run, which tunes each source over its grid once more.

    ``baselines`` are the trials of each, whose fitting and ranking took as long as that will.
    """
    from genre.component import Slot
    from genre.tuning import combinations

    total = 0.0
    for name, trials in baselines.items():
        grid = sum(1 for _ in combinations(Slot("sources").build(name)))
        total += grid * fmean([one["seconds"] for one in trials]) if trials else 0.0
    return total
