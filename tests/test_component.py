"""How components are found, built and described."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import PositiveInt
from pydantic_core import PydanticCustomError

from genre.component import Slot, component, describe, expand, find, name_of, names, suggest


def test_names_are_those_of_the_files():
    folder = Path(__file__).parents[1] / "src" / "genre" / "heads"
    assert names("heads") == sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")


def test_a_wrong_name_is_answered_with_a_near_one():
    with pytest.raises(LookupError, match=r"no heads named 'regresion'; did you mean 'regression'\?"):
        find("heads", "regresion")
    with pytest.raises(LookupError, match=r"no heads named 'zzz'; known: binary, .*next_item, .*regression"):
        find("heads", "zzz")


def test_suggest():
    assert suggest("epoch", ["epochs", "lr"]) == "did you mean 'epochs'?"
    assert suggest("zzz", ["a", "b"]) == "known: a, b"


def test_expand():
    assert expand("lora") == {"type": "lora"}
    assert expand("ndcg@10") == {"type": "ndcg", "k": ["10"]}
    assert expand("my.module:Class") == {"type": "my.module:Class"}


def test_a_component_is_an_immutable_dataclass_with_checked_fields():
    @component
    class Thing:
        """A thing."""

        size: PositiveInt = 3
        """How large."""

    assert Thing(size=4) == Thing(size=4) != Thing()
    with pytest.raises(AttributeError):
        Thing().size = 4  # type: ignore[misc]
    with pytest.raises(ValueError, match="greater than 0"):
        Thing(size=0)
    with pytest.raises(ValueError, match="unexpected"):
        Thing(seize=4)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="positional"):
        Thing(4)  # type: ignore[misc]


def test_a_slot_takes_a_name_a_mapping_or_a_component():
    slot = Slot("adapters")
    built = slot.build({"type": "lora", "r": 4})
    assert built.r == 4
    assert slot.build("lora") == slot.build({"type": "lora"})
    assert slot.build(built) is built
    assert describe(built) == {
        "type": "lora",
        "r": 4,
        "alpha": 16,
        "dropout": 0.0,
        "layers": 2,
        "targets": ["query", "value"],
    }
    assert name_of(built) == "lora"


@pytest.mark.parametrize(
    ("value", "type_", "message"),
    [
        (3, "component", "expected a name or a mapping with 'type', got 3"),
        ({"r": 4}, "component", "needs 'type', one of: adalora, bitfit, bottleneck"),
        ({"type": 4}, "component", "needs 'type', one of: adalora, bitfit, bottleneck"),
        ("lorra", "component_name", "no adapters named 'lorra'; did you mean 'lora'?"),
        ("no.such:Class", "component_name", "'no.such:Class': cannot import no.such (No module named 'no')"),
        ("json:Nothing", "component_name", "'json:Nothing': json has no Nothing"),
        ("json:JSONDecoder", "component_name", "'json:JSONDecoder' is not a component"),
    ],
)
def test_what_a_slot_does_not_take(value: object, type_: str, message: str):
    with pytest.raises(PydanticCustomError) as caught:
        Slot("adapters").build(value)
    assert caught.value.type == type_
    assert caught.value.message().startswith(message)


def test_a_slot_carries_every_mistake_inside():
    with pytest.raises(PydanticCustomError) as caught:
        Slot("adapters").build({"type": "lora", "r": 0, "rank": 3, "dropout": 2})
    context = caught.value.context
    assert context is not None
    assert {error["loc"] for error in context["errors"]} == {("r",), ("rank",), ("dropout",)}
    assert context["known"] == ["r", "alpha", "dropout", "layers", "targets"]


def test_a_component_from_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "outsider.py").write_text(
        "from genre import component\n\n@component\nclass Own:\n    '''Own.'''\n    n: int = 1\n    '''How many.'''\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    built = Slot("sources").build({"type": "outsider:Own", "n": 2})
    assert name_of(built) == "outsider:Own"
    assert Slot("sources").build(describe(built)) == built
