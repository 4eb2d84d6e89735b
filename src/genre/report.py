"""Stage: one self-contained page: what was trained, what it gained and for whom, what it took, how it was measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from genre import figures
from genre.component import describe
from genre.config import Config
from genre.files import replacing_folder, unseal, write_text
from genre.refresh.figures import pictures
from genre.run import Run
from genre.taskfigures import calibration_of, confusion_of
from genre.wording import choice_in_words, count, duration, label, number, relative, signed, slice_in_words, words

OURS = ("genre", "genre_before", "retrieved", "unarranged", "model", "model_before", "pretrained")
COLUMNS = ("recall@10", "ndcg@10", "mrr@10", "auc", "coverage@10", "novelty@10", "diversity@10")
DRAWN = ("ndcg@10", "recall@10")
SCARCE_SLICES = ("cold_items", "item_interactions_under_5")
READS = {"items": "the text of each item", "rows": "the text of each row", "pairs": "a history and an item together"}
MOST_SHARES = 15
"""Columns that the table of what the scorer looks at shows."""
MOST_CARDS = 6
"""Verdicts at the top of the page; the tasks have them all."""
EVALUATE_FORMAT = REFRESH_FORMAT = 1


def report(config: Config, run: Run) -> None:
    """Write ``report.html`` from what the other stages left. Raises `RunError` when there is no evaluation."""
    sealed = unseal(run.path("evaluate"), EVALUATE_FORMAT, "genre evaluate")
    inputs = {"evaluate": sealed["hash"], "name": config.name, "template": _template_text()}
    if (found := refreshed_of(run)) is not None:
        inputs["refresh"] = found
    run.do("report", inputs, lambda folder: _write(config, run, folder))
    print(f"report: {run.path('report') / 'report.html'}")


def _write(config: Config, run: Run, folder: Path) -> None:
    page = Page(config, run)
    with replacing_folder(folder) as aside:
        write_text(aside / "report.html", page.render())


def refreshed_of(run: Run) -> dict[str, Any] | None:
    """What `genre refresh` found of a run that came from another; None for one that did not."""
    folder = run.path("refresh") / "gate"
    if not (folder / "manifest.json").exists():
        return None
    unseal(folder, REFRESH_FORMAT, "genre refresh")
    return _json(folder / "refresh.json")


def _template_text() -> str:
    return (Path(__file__).parent / "report.html").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Page:
    """Everything that the template shows. Text is escaped by the template; only the figures are markup."""

    config: Config
    run: Run

    def render(self) -> str:
        """The page as HTML."""
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup

        environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        environment.filters |= {"number": number, "signed": signed, "count": count, "time": duration, "label": label}
        environment.filters["words"] = words
        drawn = {name: Markup(svg) for name, svg in self._figures().items()}
        return environment.from_string(_template_text()).render(page=self, figures=drawn, result=self.result)

    @cached_property
    def result(self) -> dict[str, Any]:
        """What `genre evaluate` measured."""
        return _json(self.run.path("evaluate") / "metrics.json")

    @cached_property
    def examples(self) -> list[dict[str, Any]]:
        """Recommendations of a few users."""
        return _json(self.run.path("evaluate") / "examples.json")

    @cached_property
    def data(self) -> dict[str, Any]:
        """The data's manifest."""
        return _json(self.run.path("data") / "manifest.json")

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The run's manifest."""
        return self.run.manifest

    @cached_property
    def curves(self) -> list[dict[str, Any]]:
        """The learning curves, a row an epoch."""
        import pyarrow.parquet as pq

        path = self.run.path("model") / "curves.parquet"
        return pq.read_table(path).to_pylist() if path.exists() else []

    @property
    def phases(self) -> list[str]:
        """The phases of the training, in order."""
        return list(dict.fromkeys(row["phase"] for row in self.curves))

    @property
    def columns(self) -> list[str]:
        """The ranking metrics that the table shows."""
        return [name for name in COLUMNS if any(name in found for found in self.result["systems"].values())]

    @property
    def systems(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Key, group and measures of every system that ranks."""
        found = self.result["systems"]
        ranked = {name: found[name] for name in found if any(column in found[name] for column in self.columns)}
        return [(name, "ours" if name in OURS else "baseline", measures) for name, measures in ranked.items()]

    @property
    def best(self) -> dict[str, str]:
        """The best system by each measure that has a better."""
        best = {}
        for column in self.columns:
            larger = self.result["larger_is_better"].get(column)
            known = {
                name: m[column]["value"] for name, _, m in self.systems if m.get(column, {}).get("value") is not None
            }
            if larger is not None and known:
                best[column] = max(known, key=lambda name: known[name] if larger else -known[name])
        return best

    @property
    def ranks(self) -> bool:
        """Whether rankings were measured; a model of texts has none."""
        return bool(self.columns)

    @property
    def gains(self) -> list[tuple[str, dict[str, Any]]]:
        """The comparisons that matter most, each with a title: the gate, and what fine-tuning gained."""
        if not self.ranks:
            return self._task_gains()
        gate = self.result["gate"]
        metric = gate["metric"] if gate else "ndcg@10"
        pairs = [("The whole pipeline beside the best simple method", "genre", gate["baseline"])] if gate else []
        pairs += [
            ("What reading the top again gained", "genre", "retrieved"),
            ("What the rerankers changed", "genre", "unarranged"),
            ("What fine-tuning the language model gained", "model", "model_before"),
            ("What that gained the whole pipeline", "genre", "genre_before"),
            ("The model beside the language model as it came", "model", "pretrained"),
        ]
        return [(title, found) for title, a, b in pairs if (found := self._comparison(a, b, metric))]

    def _task_gains(self) -> list[tuple[str, dict[str, Any]]]:
        """What fine-tuning gained each task, and what the model gains over words that are counted."""
        titles = {"model_before": "What fine-tuning gained: {}", "tfidf": "Beside TF-IDF: {}"}
        found = {b: dict(self._firsts("model", b)) for b in titles}
        cards = [(titles[b].format(n), found[b][n]) for n in self.result["tasks"] for b in titles if n in found[b]]
        return cards[:MOST_CARDS]

    def _firsts(self, a: str, b: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """For each task its first measure that has a better, as a comparison of two systems."""
        for name in self.result["tasks"]:
            keys = [key for key in self.result["larger_is_better"] if key.startswith(f"{name}.")]
            found = next(filter(None, (self._comparison(a, b, key) for key in keys)), None)
            if found:
                yield name, found

    def _comparison(self, a: str, b: str, metric: str) -> dict[str, Any] | None:
        for found in self.result["comparisons"]:
            if (found["a"], found["b"], found["metric"]) == (a, b, metric):
                values = {side: self.result["systems"][found[side]][metric]["value"] for side in ("a", "b")}
                return {**found, "value_a": values["a"], "value_b": values["b"]}
        return None

    @property
    def tasks(self) -> list[dict[str, Any]]:
        """For each head with a label: its measures by system."""
        tables = []
        for name, facts in self.result["tasks"].items():
            rows = {system: self._of_head(system, name) for system in self.result["systems"]}
            columns = list(dict.fromkeys(key for found in rows.values() for key in found))
            shown = [
                key for key in columns if any(found.get(key, {}).get("value") is not None for found in rows.values())
            ]
            tables.append(
                {
                    "name": name,
                    **facts,
                    "n": facts["rows"],
                    "columns": shown,
                    "rows": {s: m for s, m in rows.items() if m},
                    "beside": [
                        found for system in rows for head, found in self._firsts("model", system) if head == name
                    ],
                    "chosen": {s: chosen for s, one in facts["baselines"].items() if (chosen := choice_in_words(one))},
                }
            )
        return tables

    def _of_head(self, system: str, head: str) -> dict[str, Any]:
        found = self.result["systems"][system]
        return {key.partition(".")[2]: value for key, value in found.items() if key.startswith(f"{head}.")}

    @property
    def facts(self) -> dict[str, str]:
        """What was trained on what, in a few words each."""
        model, training = self.config.model, self.result["cost"]["training"]
        heads = ", ".join(f"{name} ({describe(head)['type'].replace('_', ' ')})" for name, head in model.heads.items())
        counts = self.data["counts"]
        read = ", ".join(f"{count(counts[what])} {what}" for what in ("interactions", "users", "items"))
        trained = training.get("trainable_parameters")
        of_backbone = training.get("trainable_backbone_parameters")
        adapter = describe(model.adapter)["type"]
        tuned = "held as it came" if adapter == "frozen" else f"fine-tuned by {adapter}"
        return {
            "language model": f"{describe(model.backbone)['type']}, {tuned}",
            "reads": READS[model.formulation.reads],
            "tasks": heads,
            "data": f"{self.data.get('name', '')}: {read}",
            "trained weights": f"{count(trained)}, of them {count(of_backbone)} in the language model",
        }

    @property
    def baselines(self) -> list[str]:
        """The baselines, each with its settings."""
        hidden = ("type", "top_k", "seed")
        found = {
            name: ", ".join(f"{key} {value}" for key, value in settings.items() if key not in hidden)
            for name, settings in self.result["settings"].items()
        }
        return [f"{label(name)} ({words})" if words else label(name) for name, words in found.items()]

    @cached_property
    def scorer(self) -> dict[str, Any] | None:
        """What the scorer was learned from and looks at most; None where nothing is recommended."""
        path = self.run.path("rank") / "scorer.json"
        if not self.ranks or not path.exists():
            return None
        found = _json(path)
        shares = [(name, share) for name, share in found["shares"].items() if share > 0][:MOST_SHARES]
        name = describe(self.config.pipeline.scorer)["type"]
        return {**found, "name": name, "found": found["retrieved"] / max(found["targets"], 1), "shares": shares}

    @cached_property
    def reread(self) -> dict[str, Any] | None:
        """How much reading the top again counts, and NDCG@10 on validation of every weight that was tried."""
        path = self.run.path("rank") / "rerank_finetuned.json"
        if self.config.pipeline.rerank is None or not path.exists():
            return None
        found = _json(path)
        tried = next(one for one in found.values() if isinstance(one, dict))
        weight = float(found["weight"])
        return {**found, "weight": weight, "tried": {float(w): value for w, value in tried.items()}}

    @cached_property
    def refreshed(self) -> dict[str, Any] | None:
        """The gate and the drift of a run that came from another."""
        return refreshed_of(self.run)

    @property
    def cost(self) -> list[tuple[str, str]]:
        """What it took."""
        cost, stages = self.result["cost"], self.manifest["stages"]
        rows = [
            (f"{name} stage", f"{duration(s['seconds'])}, {count(s['peak_rss_mb'])} MB") for name, s in stages.items()
        ]
        rows += [("evaluation alone", duration(cost["evaluate_seconds"]))]
        epochs = cost["training"].get("epochs") or {}
        rows += [(f"epochs of {phase}", str(n)) for phase, n in epochs.items()]
        machine = self.manifest["machine"]
        rows += [("machine", f"{machine['cores']} cores, {machine['memory_gb']} GB, {machine['processor']}")]
        return rows

    @property
    def configuration(self) -> str:
        """The resolved configuration as YAML: the same file gives the same run."""
        import yaml

        return yaml.safe_dump(_json(self.run.folder / "config.json"), sort_keys=False, allow_unicode=True, width=100)

    @property
    def slices(self) -> list[tuple[str, dict[str, Any]]]:
        """Name in words, and what was found."""
        return [(slice_in_words(name), found) for name, found in self.result["slices"].items()]

    @property
    def scarce(self) -> list[tuple[str, dict[str, Any], list[dict[str, Any]]]]:
        """The slices of items of which few interactions are known: name, what was found, what stands beside what."""
        chosen = {name: self.result["slices"].get(name) for name in SCARCE_SLICES}
        return [(slice_in_words(name), one, one["comparisons"]) for name, one in chosen.items() if one]

    @property
    def shots(self) -> dict[str, Any]:
        """The curve of few events; empty where none was measured."""
        return self.result.get("shot_curve") or {}

    @property
    def shot_ticks(self) -> list[str]:
        """The points of that curve, in words."""
        return ["all" if point["shots"] is None else str(point["shots"]) for point in self.shots["points"]]

    @property
    def shot_rows(self) -> list[tuple[str, list[dict[str, Any]]]]:
        """Each system's measures at every point of that curve."""
        points = self.shots["points"]
        return [(system, [point["systems"][system] for point in points]) for system in points[0]["systems"]]

    def _figures(self) -> dict[str, str]:
        makers: dict[str, Callable[[], str | None]] = {
            "systems": self._systems_figure,
            "gains": self._gains_figure,
            "curves": self._curves_figure,
            "slices": self._slices_figure,
            "shots": self._shots_figure,
            "calibration": lambda: calibration_of(self.result),
            "confusion": lambda: confusion_of(self.result),
            "refresh": lambda: pictures(self.refreshed).get("gate") if self.refreshed else None,
        }
        return {name: svg for name, make in makers.items() if (svg := make())}

    def _systems_figure(self) -> str | None:
        rows = [(label(name), 0 if name == "genre" else 1 if group == "ours" else 2) for name, group, _ in self.systems]
        panels = {
            metric: {label(name): found[metric] for name, _, found in self.systems if metric in found}
            for metric in DRAWN
            if metric in self.columns
        }
        return figures.forest("systems", rows, panels) if panels else None

    def _gains_figure(self) -> str | None:
        others = [name for name, _, _ in self.systems if name != "genre"]
        panels: dict[str, dict[str, Any]] = {}
        for metric in DRAWN:
            found = {name: self._comparison("genre", name, metric) for name in others}
            differences = {label(n): {"value": c["difference"], "ci95": c["ci95"]} for n, c in found.items() if c}
            if differences:
                panels[f"difference in {metric}"] = differences
        rows = [(label(name), 1 if name in OURS else 2) for name in others]
        return figures.forest("gains", rows, panels, zero=True) if panels else None

    def _curves_figure(self) -> str | None:
        if not self.curves:
            return None
        names = [name for name in self.curves[0] if "/" in name and any(row[name] is not None for row in self.curves)]
        losses = {
            name.removeprefix("loss/"): [row.get(name) for row in self.curves] for name in names if "loss/" in name
        }
        first = {name: relative(values) for name, values in losses.items()}
        panels = {"training loss, 1 = first epoch": first}
        panels |= {
            f"validation {n.removeprefix('valid/')}": {n: [row.get(n) for row in self.curves]}
            for n in names
            if "valid/" in n
        }
        phases = [row["phase"] for row in self.curves]
        return figures.curves(panels, [at for at in range(1, len(phases)) if phases[at] != phases[at - 1]])

    def _slices_figure(self) -> str | None:
        rows = [f"{name} ({found['n']})" for name, found in self.slices]
        systems = list(dict.fromkeys(system for _, found in self.slices for system in found["systems"]))
        series = {
            label(system): {
                row: found["systems"][system]["ndcg@10"]
                for row, (_, found) in zip(rows, self.slices, strict=True)
                if system in found["systems"]
            }
            for system in systems
        }
        return figures.grouped(rows, series, "ndcg@10 by slice (test users in it)") if series else None

    def _shots_figure(self) -> str | None:
        if not self.shots:
            return None
        rows = self.shot_rows
        panels = {metric: {label(s): [point[metric] for point in points] for s, points in rows} for metric in DRAWN}
        return figures.few_events(panels, self.shot_ticks)


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
