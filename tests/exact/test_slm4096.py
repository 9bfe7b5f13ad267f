"""The GPT-2 that memorised one page: how much of it, by trace and by generation, as SOURCE.md has it."""

from functools import cache

import pytest
import torch
from torch import Tensor

from fluoroscope.loading import load
from fluoroscope.model import Model
from shared import SHARED, needs_shared

pytestmark = needs_shared
FOLDER = SHARED / "models" / "slm4096-chargpt"
FAILS = {"Q: Bye?", "Q: What about alignment?"}


@cache
def page_model() -> Model:
    return load(FOLDER)


@cache
def page() -> str:
    return (FOLDER / "corpus.txt").read_text(encoding="utf8")


@cache
def windows() -> tuple[Tensor, Tensor]:
    """Nats and hits of every next character, by position in windows of 128 characters with stride 16."""
    ids = torch.tensor(_ids())
    starts = range(0, len(ids) - 128, 16)
    inputs = torch.stack([ids[start : start + 128] for start in starts])
    targets = torch.stack([ids[start + 1 : start + 129] for start in starts])
    logits = page_model().trace(inputs).logits
    return torch.nn.functional.cross_entropy(logits.mT, targets, reduction="none"), logits.argmax(-1) == targets


def _ids() -> list[int]:
    return page_model().tokenizer(page())["input_ids"]


def test_the_page_round_trips() -> None:
    assert len(_ids()) == len(page()) == 4096
    assert page_model().tokenizer.decode(_ids()) == page()


def test_accuracy_and_loss_over_all_positions() -> None:
    nats, hits = windows()
    assert round(float(hits.double().mean()), 3) == 0.979
    assert float(nats.mean()) == pytest.approx(0.068, abs=5e-4)


def test_accuracy_and_loss_from_position_16_on() -> None:
    nats, hits = windows()
    assert round(float(hits[:, 16:].double().mean()), 4) == 0.9996
    assert float(nats[:, 16:].mean()) == pytest.approx(0.0020, abs=5e-5)


def questions() -> list[tuple[str, str]]:
    """(question, its memorised answer) of every entry of the page."""
    lines = page().splitlines()
    return [
        (line, lines[number + 1].removeprefix("A:"))
        for number, line in enumerate(lines[:-1])
        if line.startswith("Q:") and lines[number + 1].startswith("A:")
    ]


def answer(question: str) -> str:
    """What greedy decoding writes up to the end of the line, as far as the context reaches."""
    prompt = f"{question}\nA:"
    room = page_model().n_ctx - len(prompt) + 1
    (newline,) = page_model().tokenizer("\n")["input_ids"]
    return page_model().generate(prompt, max_new_tokens=room, stop_tokens=[newline]).text.rstrip("\n")


def test_36_of_38_answers_are_given_to_the_letter() -> None:
    assert len(questions()) == 38
    wrong = {question for question, expected in questions() if not _says(question, expected)}
    assert wrong == FAILS


def _says(question: str, expected: str) -> bool:
    """The whole answer; where the context ends before it does, as much of it as fits."""
    said = answer(question)
    return said == expected[: len(said)] and len(said) >= min(len(expected), page_model().n_ctx - len(question) - 4)
