"""One page that needs nothing else, and that no title can break."""

import html
import json
import re
import shutil
from html.parser import HTMLParser

import pytest

from finished import finished, finished_pairs, finished_texts
from genre import figures
from genre.errors import RunError
from genre.report import report
from genre.run import Run
from genre.wording import count, duration, number, signed, slice_in_words, words


class Elements(HTMLParser):
    """What a page holds, and whether its elements are closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.tags, self.text = [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        found = dict(attrs)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found[name] for name in ("src", "href", "xlink:href") if name in found]
        if tag not in ("meta", "link", "br", "wbr"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(page: str) -> Elements:
    elements = Elements()
    elements.feed(page)
    assert elements.open == []
    return elements


@pytest.fixture(scope="module")
def page() -> str:
    run = finished()
    report(run.config, run)
    return (run.path("report") / "report.html").read_text(encoding="utf-8")


def words_of(run: Run) -> str:
    """The text of a run's page."""
    report(run.config, run)
    page = (run.path("report") / "report.html").read_text(encoding="utf-8")
    return " ".join(html.unescape(" ".join(read(page).text)).split())


def test_a_model_of_texts_has_a_page_of_tasks():
    run = finished_texts()
    text = words_of(run)
    result = json.loads((run.path("evaluate") / "metrics.json").read_text())
    for system, found in result["systems"].items():
        for name, measured in found.items():
            if measured["value"] is not None:
                assert number(measured["value"]) in text, (system, name)
    for comparison in result["comparisons"]:
        if (comparison["b"], comparison["metric"]) == ("tfidf", "stars.rmse"):
            assert f"Beside TF-IDF: stars {signed(comparison['difference'])}" in text
    for word in (
        "fine-tuned to answer questions about texts",
        "What fine-tuning gained: stars",
        "reads the text of each row",
        "in the phases warmup, finetune",
        "colour: colour multiclass, 48 test rows",
        "TF-IDF and a linear model, as chosen on validation: ngrams",
        "What it answers",
        "cases 48 texts",
    ):
        assert word in text, word
    for word in ("ranks", "recommends", "slice", "None", "candidates"):
        assert word not in text.partition("The systems in words")[0], word


def test_the_page_of_texts_shows_examples_in_words():
    run = finished_texts()
    text = words_of(run)
    examples = json.loads((run.path("evaluate") / "examples.json").read_text())
    assert len(examples) == 2
    for example in examples:
        stars = example["heads"]["stars"]
        said = " ".join(words(stars[name], "regression") for name in ("truth", "model", "model_before"))
        assert example["text"] in text
        assert f"stars {said}" in text
    page = (run.path("report") / "report.html").read_text(encoding="utf-8")
    assert re.findall(r'role="img" aria-label="([^"]{12})', page) == ["Training los", "Predicted pr", "What each la"]


def test_a_pipeline_that_reads_its_top_again_says_what_that_gained():
    run = finished_pairs()
    text = words_of(run)
    found = json.loads((run.path("rank") / "rerank_finetuned.json").read_text())
    assert "Reading the top again The model reads the best 5 items of each list again" in text
    assert f"chosen on {found['cases']} validation cases" in text
    for value in found["ndcg@10"].values():
        assert number(value) in text
    for word in ("What reading the top again gained", "pipeline without reading its top again", "it alone"):
        assert word in text


def test_it_says_what_decides_the_order():
    run = finished()
    facts = json.loads((run.path("rank") / "scorer.json").read_text())
    text = words_of(run)
    assert (
        f"retrieved {facts['retrieved'] / facts['targets']:.1%} of what {facts['cases']} validation cases chose" in text
    )
    assert f"weighted reached ndcg@10 {number(facts['held_out']['ndcg@10'])}" in text
    for name, share in facts["shares"].items():
        assert not share or f"{name} {share:.1%}" in text


def test_it_is_one_file_that_asks_for_nothing(page):
    found = read(page)
    assert all(link.startswith(("#", "data:,")) for link in found.links)
    assert "script" not in found.tags
    assert "@import" not in page
    assert re.findall(r"url\((?!#)", page) == []
    assert "<!DOCTYPE svg" not in page


def test_ids_are_unique_and_every_reference_leads_somewhere(page):
    found = read(page)
    assert len(found.ids) == len(set(found.ids))
    assert {link[1:] for link in found.links if link.startswith("#")} <= set(found.ids)
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(found.ids)


def test_it_says_what_must_be_said(page):
    run = finished()
    result = json.loads((run.path("evaluate") / "metrics.json").read_text())
    text = html.unescape(" ".join(read(page).text))
    assert result["gate"]["sentence"] in text
    for name in ("GENRE, whole pipeline", "model before fine-tuning", "language model as it came", "content knn"):
        assert name in text
    for found in result["systems"].values():
        if "ndcg@10" in found:
            assert number(found["ndcg@10"]["value"]) in text
    for word in ("rating: value", "like: value >= 4", "gender F", "Chose next", "licence", "genre run circle.yaml"):
        assert word in text


def test_the_curve_of_few_events_is_told(page):
    result = json.loads((finished().path("evaluate") / "metrics.json").read_text())
    text = " ".join(html.unescape(" ".join(read(page).text)).split())
    for word in (
        "How little it needs to know of a person All 80 cases were asked again",
        "the items that are new to the whole history",
        "events known 0 1 2 5 10 all on average 0.0 1.0 2.0 5.0 10.0 11.0",
        "cases with so many 80 80 80 80 80 80",
        "none of them without an interaction in training; none of the cases without a history",
    ):
        assert word in text, word
    for point in result["shot_curve"]["points"]:
        for system, found in point["systems"].items():
            cell = found["recall@10"]
            assert f"{number(cell['value'])} {number(cell['ci95'][0])}–{number(cell['ci95'][1])}" in text, system


def test_every_figure_has_a_text_in_its_place(page):
    drawings = re.findall(r'role="img" aria-label="([^"]+)"', page)
    assert len(drawings) == read(page).tags.count("svg") == 7
    assert page.count("<svg aria-hidden") == 7


def test_figures_take_the_colours_of_the_page(page):
    drawn = "".join(re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL))
    assert "var(--series-1)" in drawn
    assert not [colour for colour in figures.COLOURS if colour in drawn]


def test_text_from_the_data_is_escaped(tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(finished().folder, copy)
    path = copy / "evaluate" / "examples.json"
    examples = json.loads(path.read_text())
    examples[0]["history"][0] = examples[0]["user_id"] = '<script>alert("x")</script>'
    path.write_text(json.dumps(examples))
    run = Run.open(copy)
    from genre.files import seal

    seal(copy / "evaluate", 1, data="")
    report(run.config, run)
    page = (copy / "report" / "report.html").read_text()
    assert "script" not in read(page).tags
    assert "&lt;script&gt;alert" in page


def test_without_an_evaluation_it_says_what_to_do(tmp_path):
    run = Run.create(finished().config, tmp_path)
    with pytest.raises(RunError, match="make it with 'genre evaluate'"):
        report(run.config, run)


def test_numbers_are_written_for_people():
    assert [number(None), number(0.12345), signed(-0.5), count(12345), count(None)] == [
        "–",
        "0.1235",
        "−0.5000",
        "12\u202f345",
        "–",
    ]
    assert [duration(3.21), duration(200), duration(None)] == ["3.2 s", "3 min 20 s", "–"]


def test_labels_are_written_for_people():
    said = [(None, "regression"), (4.0, "regression"), (4.567, "regression"), (1.0, "binary"), (0.0, "binary")]
    assert [words(*one) for one in said] == ["not known", "4", "4.57", "yes", "no"]
    assert words(0.973, "binary") == "97% yes"


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("user_history_1_5", "history 1–5"),
        ("user_history_101_up", "history 101 and more"),
        ("user_history_0", "history 0"),
        ("cold_items", "cold items"),
        ("item_interactions_under_5", "item interactions under 5"),
        ("item_interactions_1_4", "item interactions 1–4"),
        ("item_interactions_20_up", "item interactions 20 and more"),
        ("item_popularity_head", "popularity head"),
        ("gender=F", "gender F"),
        ("age=55_up", "age 55 and more"),
        ("age=under_18", "age under 18"),
        ("age=18_24", "age 18–24"),
    ],
)
def test_slices_have_names_in_words(name, plain):
    assert slice_in_words(name) == plain
