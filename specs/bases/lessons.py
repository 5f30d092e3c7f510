"""Ask short questions about the synthetic pictures: the rows that the small bases learn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from synth import (
    CANVAS,
    SHAPES,
    SIDE,
    WORDS,
    Look,
    coloured,
    different_colours,
    digit_ink,
    draw_digit,
    pick,
    plain_colours,
    shade,
    shape_ink,
)

WORD_QUESTIONS = (
    "Which digit is written in this picture? Answer with one word.",
    "Which digit is written in this picture? Answer with one word.",
    "What digit is this? Answer with one word.",
    "Which number do you see? Answer with one word.",
    "Read the digit in the picture.",
    "Name the digit that is shown here.",
)
FIGURE_QUESTIONS = (
    "Which digit is written in this picture? Answer with one figure.",
    "What digit is this? Answer with a figure.",
    "Write the digit you see as a figure.",
)
SHAPE_QUESTIONS = (
    "Which shape is in this picture? Answer with one word.",
    "What shape is this?",
    "Name the shape that is shown here.",
)
COLOUR_QUESTIONS = (
    "What colour is the {}? Answer with one word.",
    "Which colour does the {} have?",
)
PLACE_QUESTIONS = (
    "What colour is the shape at the {}? Answer with one word.",
    "Which shape is at the {}? Answer with one word.",
)
SYSTEMS = (
    "You look at pictures and answer briefly.",
    "You are a helpful assistant.",
    "Answer with one word.",
)


@dataclass(frozen=True)
class Row:
    """One picture and one conversation about it."""

    image: np.ndarray
    """RGB bytes, shape (SIDE, SIDE, 3)."""

    turns: tuple[tuple[str, str], ...]
    """Questions with their answers; the picture belongs to the first question."""

    system: str | None = None


def questions() -> list[str]:
    """List every question and system text once: what the tokenizer is trained on."""
    parts = ("digit", "shape", "background")
    colours = [question.format(part) for question in COLOUR_QUESTIONS for part in parts]
    places = [
        question.format(place) for question in PLACE_QUESTIONS for place in ("left", "right", "top", "bottom")
    ]
    return sorted({*WORD_QUESTIONS, *FIGURE_QUESTIONS, *SHAPE_QUESTIONS, *colours, *places, *SYSTEMS})


def kind_of(question: str) -> str:
    """Say what a question is about: digit, shape, colour or place."""
    if question in WORD_QUESTIONS + FIGURE_QUESTIONS:
        return "digit"
    if question in SHAPE_QUESTIONS:
        return "shape"
    return "place" if " at the " in question else "colour"


def ask_digit(rng: np.random.Generator, digit: int) -> tuple[str, str]:
    """Ask for the digit, as a word more often than as a figure."""
    if rng.random() < 0.7:
        return pick(rng, WORD_QUESTIONS), WORDS[digit]
    return pick(rng, FIGURE_QUESTIONS), str(digit)


def plain_row(rng: np.random.Generator, look: Look) -> Row:
    """Draw a plain digit and ask which one it is: the first lesson."""
    digit = int(rng.integers(10))
    return Row(np.asarray(draw_digit(rng, digit, look)), (ask_digit(rng, digit),))


def digit_row(rng: np.random.Generator, look: Look) -> Row:
    """Draw a digit, often in colours, ask which one it is and sometimes what colour it has."""
    digit = int(rng.integers(10))
    front, back = plain_colours(rng) if rng.random() < 0.6 else different_colours(rng, 2)
    turns = [ask_digit(rng, digit)]
    if rng.random() < 0.3:
        part, colour = ("digit", front) if rng.random() < 0.5 else ("background", back)
        turns.append((pick(rng, COLOUR_QUESTIONS).format(part), colour))
        if rng.random() < 0.3:
            turns.reverse()
    return Row(coloured(rng, digit_ink(rng, digit, look), front, back), tuple(turns))


def shape_row(rng: np.random.Generator) -> Row:
    """Draw one shape and ask which it is or what colour it has."""
    front, back = different_colours(rng, 2)
    name = pick(rng, tuple(SHAPES))
    centre = (CANVAS * rng.uniform(0.38, 0.62), CANVAS * rng.uniform(0.38, 0.62))
    ink = shape_ink(rng, name, centre, CANVAS * rng.uniform(0.2, 0.36))
    turns = [(pick(rng, SHAPE_QUESTIONS), name), (pick(rng, COLOUR_QUESTIONS).format("shape"), front)]
    if rng.random() < 0.5:
        turns.reverse()
    return Row(coloured(rng, ink, front, back), tuple(turns[: int(rng.integers(1, 3))]))


def pair_row(rng: np.random.Generator) -> Row:
    """Draw two shapes in different places and ask about one of them by its place."""
    first, second, back = different_colours(rng, 3)
    names = pick(rng, tuple(SHAPES)), pick(rng, tuple(SHAPES))
    upright = rng.random() < 0.5
    image = np.empty((SIDE, SIDE, 3), np.uint8)
    image[:] = np.clip(shade(rng, back), 0, 255)
    places = ("top", "bottom") if upright else ("left", "right")
    for name, colour, near in zip(names, (first, second), (0.26, 0.74), strict=True):
        along, across = CANVAS * near, CANVAS * rng.uniform(0.3, 0.7)
        centre = (across, along) if upright else (along, across)
        ink = shape_ink(rng, name, centre, CANVAS * rng.uniform(0.15, 0.22))
        cover = np.asarray(ink, np.float32)[..., None] / 255.0  # (SIDE, SIDE, 1)
        image = np.clip(cover * shade(rng, colour) + (1 - cover) * image, 0, 255).astype(np.uint8)
    which = int(rng.integers(2))
    asked = [
        (PLACE_QUESTIONS[0].format(places[which]), (first, second)[which]),
        (PLACE_QUESTIONS[1].format(places[which]), names[which]),
    ]
    return Row(image, (asked[int(rng.integers(2))],))


def draw_row(rng: np.random.Generator, look: Look) -> Row:
    """Draw the next picture, mostly a digit; one conversation in ten opens with a system turn."""
    kind = rng.random()
    row = digit_row(rng, look) if kind < 0.7 else shape_row(rng) if kind < 0.87 else pair_row(rng)
    return Row(row.image, row.turns, pick(rng, SYSTEMS) if rng.random() < 0.1 else None)
