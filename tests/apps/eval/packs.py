"""Small packs, and models small enough to be right about everything."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from apps.eval.journal import digest_of_question
from kolm.answers import Answer, Question
from kolm.images import to_png
from kolm.pack import EvalPack, load_pack


def said(text: str) -> Answer:
    return Answer(text, tokens=2, finish="stop", prompt_tokens=20, image_tokens=9, patches=36)


def make_pack(folder: Path, shades: Sequence[int | None], prompt: str = "Shade?") -> EvalPack:
    """One row for each shade of red, without a picture for None."""
    (folder / "images").mkdir(parents=True)
    lines = []
    for number, shade in enumerate(shades):
        row = {"id": f"q{number}", "prompt": prompt, "gold": f"{shade}", "slice": "all", "image": []}
        if shade is not None:
            picture = Image.new("RGB", (64, 64), (shade, 0, 0))
            (folder / "images" / f"{number}.png").write_bytes(to_png(picture))
            row["image"] = f"images/{number}.png"
        lines.append(json.dumps(row))
    (folder / "pack.jsonl").write_text("\n".join(lines) + "\n")
    head = "kolm-pack: 1\nname: shades\nversion: 1\nrows: pack.jsonl\ncluster: image\n"
    (folder / "pack.yaml").write_text(f"{head}slices:\n  all:\n    metric: exact@1\n")
    return load_pack(folder / "pack.yaml")


class Reader:
    """Names the shade of red that it is shown; it notes what it was asked, alone and in batches."""

    def __init__(self) -> None:
        self.alone: list[str] = []
        self.together: list[str] = []
        self.asked: dict[str, list[str]] = {"alone": [], "together": []}
        """Digests of the questions."""

    def answer(self, question: Question) -> str:
        if not question.images:
            return "none"
        red, green, _ = question.images[0].getpixel((0, 0))
        return "grey" if green > 100 else f"{red}"

    def ask(self, turns: Sequence, images: Sequence[Image.Image], *, max_new_tokens: int) -> Answer:
        question = Question(tuple(turns), tuple(images))
        self.alone.append(text := self.answer(question))
        self.asked["alone"].append(digest_of_question(question))
        return said(text)

    def answers(
        self, questions: Sequence[Question], *, max_new_tokens: int, batch: int
    ) -> Iterator[tuple[int, Answer]]:
        for place in reversed(range(len(questions))):
            text = self.answer(questions[place])
            (self.together if batch > 1 else self.alone).append(text)
            self.asked["together" if batch > 1 else "alone"].append(digest_of_question(questions[place]))
            yield place, said(text)
