"""Drawn shop receipts, read out as JSON: an eval pack whose sums are right and whose answers are known.

The answer has the shape of CORD (github.com/clovaai/cord): what was bought, subtotal, tax and total. Every
receipt is asked about once and judged three times, by the tree, by its fields and by a schema.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

from PIL import Image

from apps.capture.paper import Line, photograph, print_strip
from apps.capture.renders import Row, check_count, source, to_jpeg, write_drawn_pack

PROMPT = (
    "Read this receipt. Answer with JSON only: "
    '{"menu": [{"nm": "name", "cnt": "count", "price": "amount of the line"}], '
    '"subtotal": "amount", "tax": "amount", "total": "amount"}. '
    "Everything is text as it is printed, amounts without currency."
)
_AMOUNT = {"type": "string", "pattern": "^[0-9]+\\.[0-9]{2}$"}
_TEXT = {"type": "string", "minLength": 1}


def _closed(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


SCHEMA = _closed(
    menu={"type": "array", "minItems": 1, "items": _closed(nm=_TEXT, cnt=_TEXT, price=_AMOUNT)},
    subtotal=_AMOUNT,
    tax=_AMOUNT,
    total=_AMOUNT,
)
"""What an answer has to look like; whether it is right is for the other slices to say."""

PACK = """\
# Drawn shop receipts. They measure the pipeline, not the field. Nothing here is ever trained on.
kolm-pack: 1
name: receipts
version: 1
rows: pack.jsonl
cluster: image                          # a receipt is judged three times: its rows are resampled together
slices:
  tree: {metric: cord-ted@1}            # how much of the tree is right
  fields: {metric: field-f1@1}          # which (key, value) pairs are right
  valid: {metric: json-schema@1}        # whether the answer is JSON of the right shape, and nothing else
"""

_SHELVES = {
    "Market": "Apples 1kg 2.90; Oat milk 1.95; Rye bread 3.40; Butter 250g 2.75; Eggs x10 3.30; "
    "Tomatoes 2.20; Basmati rice 4.10; Olive oil 8.90; Lentils 1.60; Cheddar 4.45; Yoghurt 0.85; "
    "Carrots 1.15; Pasta 1.35; Honey 5.60; Lemons 1.80; Spinach 2.05",
    "Cafe": "Espresso 2.40; Flat white 3.60; Green tea 2.90; Croissant 2.70; Carrot cake 4.20; "
    "Bagel 3.10; Orange juice 3.80; Hot chocolate 3.90; Soup of the day 6.50; Quiche 5.90; "
    "Iced coffee 4.10; Muffin 2.95",
    "Hardware": "Wood screws 4.25; Hammer 14.90; Masking tape 2.60; Sandpaper 1.90; Paint brush 5.40; "
    "Wall plugs 3.15; LED bulb 6.80; Work gloves 7.50; Tape measure 9.20; Glue 4.75; Hinge 2.35; "
    "Extension lead 12.40",
    "Books": "Notebook A5 4.50; Ball pen 1.20; City map 8.95; Paperback 11.50; Pencil set 6.30; "
    "Ruler 1.75; Envelopes 2.80; Greeting card 3.25; Crossword book 5.95; Eraser 0.90; Diary 13.40; "
    "Atlas 24.00",
    "Pharmacy": "Toothpaste 2.95; Plasters 3.60; Hand cream 5.25; Cough drops 3.10; Sun lotion 11.80; "
    "Cotton pads 1.65; Vitamin C 6.40; Shampoo 4.85; Lip balm 2.30; Thermometer 8.70; Soap 1.45; "
    "Dental floss 2.15",
    "Diner": "Burger 9.80; Fries 3.90; Onion rings 4.20; Cola 0.3l 2.80; Veggie wrap 8.40; "
    "Side salad 4.60; Milk shake 5.10; Chicken wings 8.90; Pancakes 6.70; Club sandwich 9.40; "
    "Lemonade 3.20; Apple pie 4.30",
}
"""What is sold where, with the usual price."""

_NAMES = (
    "Harbour", "Elm Street", "Corner", "Sunrise", "Old Mill", "Riverside", "North End", "Parkview", "Maple",
    "Station", "Bluebird", "Hilltop", "Market Square", "Silver", "Green Door", "Lakeside", "Union", "Kings",
)  # fmt: skip
_STREETS = ("Mill Lane", "High Street", "Station Road", "Elm Avenue", "Quay Street", "Church Row", "Park Way")
_THANKS = (
    "Thank you for your visit", "Please come again", "Goods may be returned within 14 days", "Thank you!",
)  # fmt: skip
_TAXES = (("Tax", 500), ("Sales tax", 825), ("VAT", 1000), ("VAT", 2000), ("GST", 700))
"""Name of the tax and its rate in hundredths of a per cent."""


@dataclass(frozen=True)
class Receipt:
    """A drawn receipt and what it says."""

    picture: Image.Image
    gold: dict[str, Any]


def write_receipts(directory: Path, *, rows: int, seed: int) -> None:
    """Write an eval pack of `rows` questions about drawn receipts, three to a receipt, to `directory`.

    Raises SpecError when the folder holds something or there is nothing to draw, StorageError.
    """
    check_count(rows)
    write_drawn_pack(directory, head=PACK, rows=islice(_questions(seed), rows))


def draw_receipt(*, seed: int, number: int) -> Receipt:
    """Draw the receipt of a seed and a number: the same pixels and the same answer every time."""
    chances = source(seed, kind="receipt", number=number)
    kind = chances.choice(list(_SHELVES))
    tax = chances.choice(_TAXES)
    gold = _sold(kind, rate=tax[1], chances=chances)
    lines = _told(kind, gold, tax=f"{tax[0]} {tax[1] / 100:g} %", chances=chances)
    return Receipt(photograph(print_strip(lines, chances), chances), gold)


def _questions(seed: int) -> Iterator[tuple[Row, bytes]]:
    """Yield the rows of the pack, three about each receipt, with its picture."""
    for number in count():
        receipt = draw_receipt(seed=seed, number=number)
        picture, gold = to_jpeg(receipt.picture), json.dumps(receipt.gold, ensure_ascii=False)
        for slice_, answer in (("tree", gold), ("fields", gold), ("valid", json.dumps(SCHEMA))):
            name = f"receipt-{number:04d}"
            row = {"id": f"{name}-{slice_}", "image": f"images/{name}.jpg", "prompt": PROMPT}
            yield {**row, "gold": answer, "slice": slice_}, picture


def _sold(kind: str, *, rate: int, chances: random.Random) -> dict[str, Any]:
    """Draw what was bought in a shop, each thing once, and add it up."""
    shelf = [item.rsplit(" ", 1) for item in _SHELVES[kind].split("; ")]
    menu, subtotal = [], 0
    for name, price in chances.sample(shelf, chances.randint(2, 9)):
        number = chances.choice((1, 1, 1, 2, 2, 3, 4))
        unit = round(float(price) * 100 * chances.uniform(0.8, 1.25) / 5) * 5
        subtotal += number * unit
        menu.append({"nm": name, "cnt": str(number), "price": _amount(number * unit)})
    tax = (subtotal * rate + 5000) // 10_000  # half a cent is a cent
    sums = {"subtotal": subtotal, "tax": tax, "total": subtotal + tax}
    return {"menu": menu, **{name: _amount(cents) for name, cents in sums.items()}}


def _told(kind: str, gold: dict[str, Any], *, tax: str, chances: random.Random) -> list[Line]:
    """Return the printed lines that say it."""
    sign = chances.choice(("", "$", "$ ", "EUR "))
    return [
        *_heading(kind, chances),
        *_bought(gold["menu"], sign, chances),
        Line(rule=chances.choice(("line", "dashes"))),
        Line("Subtotal", sign + gold["subtotal"]),
        Line(tax, sign + gold["tax"]),
        Line(chances.choice(("TOTAL", "Total")), sign + gold["total"], scale=chances.choice((1.2, 1.4))),
        *_payment(round(float(gold["total"]) * 100), sign, chances),
    ]


def _heading(kind: str, chances: random.Random) -> Iterator[Line]:
    """Yield shop, address, and perhaps a telephone, a date and who served."""
    name = f"{chances.choice(_NAMES)} {kind}"
    yield Line(middle=name.upper() if chances.random() < 0.5 else name, scale=chances.choice((1.2, 1.5, 1.8)))
    yield Line(middle=f"{chances.randint(1, 240)} {chances.choice(_STREETS)}", scale=0.9)
    if chances.random() < 0.5:
        call = (chances.randint(20, 99), chances.randint(100, 999), chances.randint(1000, 9999))
        yield Line(middle="Tel. 0{} {} {}".format(*call))
    yield Line()
    day = f"{chances.randint(1, 28):02d}/{chances.randint(1, 12):02d}/20{chances.randint(19, 26)}"
    yield Line(day, f"{chances.randint(7, 21):02d}:{chances.randint(0, 59):02d}", scale=0.9)
    if chances.random() < 0.6:
        yield Line(f"No. {chances.randint(1000, 99_999)}", f"Till {chances.randint(1, 9)}", scale=0.9)
    yield Line(rule=chances.choice(("line", "dashes", "stars")))


def _bought(menu: list[dict[str, str]], sign: str, chances: random.Random) -> Iterator[Line]:
    """Yield the lines of what was bought, in one of three manners."""
    manner = chances.choice(("before", "below", "table"))
    if manner == "table":
        yield Line("Qty", "Amount", tab="Item", scale=0.9)
    for item in menu:
        price = sign + item["price"]
        if manner == "below":
            yield Line(item["nm"])
            yield Line(right=price, tab=f"{item['cnt']} x")
        elif manner == "table":
            yield Line(item["cnt"], price, tab=item["nm"])
        else:
            yield Line(f"{item['cnt']} x {item['nm']}", price)


def _payment(total: int, sign: str, chances: random.Random) -> Iterator[Line]:
    """Yield how it was paid, and the foot of the receipt."""
    if chances.random() < 0.5:
        given = -(-total // 500) * 500
        yield Line("Cash", sign + _amount(given))
        yield Line("Change", sign + _amount(given - total))
    else:
        yield Line("Card", f"**** {chances.randint(1000, 9999)}")
    yield Line()
    yield Line(middle=chances.choice(_THANKS), scale=0.9)
    if chances.random() < 0.6:
        yield Line(rule="bars")


def _amount(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"
