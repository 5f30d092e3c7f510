"""Small data sets in the shapes in which large ones are published, written to a folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.pictures import png_of, shade, write_png


def write_json(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def write_lines(path: Path, *rows: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_table(path: Path, *rows: dict[str, Any]) -> Path:
    """Write Parquet; a picture is Hugging Face's struct of bytes and path."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def stored(number: int) -> dict[str, Any]:
    return {"bytes": shade(number), "path": f"{number}.png"}


def chartqa_json(folder: Path) -> Path:
    for number in (1, 2):
        write_png(folder / "png" / f"4169905100{number}.png", (number, 0, 0))
    rows = [
        {"imgname": "41699051001.png", "query": "How many bars?", "label": "14"},
        {"imgname": "41699051001.png", "query": "Highest year?", "label": "2019"},
        {"imgname": "41699051002.png", "query": "Share of Asia?", "label": "0.57"},
    ]
    return write_json(folder / "test_human.json", rows)


def chartqa_folder(folder: Path) -> Path:
    chartqa_json(folder)
    row = {"imgname": "41699051002.png", "query": "What is blue?", "label": "Asia"}
    write_json(folder / "test_augmented.json", [row])
    return folder


def chartqa_table(folder: Path) -> Path:
    rows = [
        {"image": stored(n), "query": f"Bar {n}?", "label": [str(n)], "human_or_machine": n % 2}
        for n in range(4)
    ]
    return write_table(folder / "data" / "test-00000-of-00001.parquet", *rows)


def docvqa_json(folder: Path) -> Path:
    write_png(folder / "documents" / "xnbl0037_1.png")
    rows = [
        {
            "questionId": 49153 + n,
            "question": f"What is on line {n}?",
            "image": "documents/xnbl0037_1.png",
            "docId": 279,
            "ucsf_document_id": "xnbl0037",
            "ucsf_document_page_no": "1",
            "answers": ["University of California", "university of california"],
            "data_split": "val",
        }
        for n in range(2)
    ]
    head = {"dataset_name": "docvqa", "dataset_version": "0.1", "dataset_split": "val"}
    return write_json(folder / "val_v1.0.json", {**head, "data": rows})


def textvqa_json(folder: Path) -> Path:
    write_png(folder / "train_images" / "003a8ae2ef43b901.jpg")
    row = {
        "question": "what is the brand of this camera?",
        "image_id": "003a8ae2ef43b901",
        "image_classes": ["Camera"],
        "flickr_original_url": "https://example.org/a.jpg",
        "question_id": 34602,
        "answers": ["nous les gosses", *["dakota"] * 8, "dakota digital"],
        "set_name": "val",
    }
    return write_json(folder / "TextVQA_0.5.1_val.json", {"dataset_type": "val", "data": [row]})


def vqav2_json(folder: Path) -> Path:
    write_png(folder / "val2014" / "COCO_val2014_000000262148.jpg")
    asked = [
        {"image_id": 262148, "question": "Where is he looking?", "question_id": 262148000},
        {"image_id": 262148, "question": "Is it raining?", "question_id": 262148001},
    ]
    notes = [
        {
            "question_type": "none of the above",
            "multiple_choice_answer": said,
            "answers": [{"answer": said, "answer_confidence": "yes", "answer_id": n} for n in range(1, 11)],
            "image_id": 262148,
            "answer_type": kind,
            "question_id": question["question_id"],
        }
        for question, (said, kind) in zip(asked, (("down", "other"), ("no", "yes/no")), strict=True)
    ]
    head = {"data_type": "mscoco", "data_subtype": "val2014"}
    write_json(folder / "v2_mscoco_val2014_annotations.json", {**head, "annotations": notes})
    return write_json(
        folder / "v2_OpenEnded_mscoco_val2014_questions.json",
        {**head, "task_type": "Open-Ended", "questions": asked},
    )


def ground_truth(number: int) -> str:
    menu = [{"nm": "Nasi Campur", "cnt": "1 x", "price": "75,000"}]
    parse = {"menu": menu, "total": {"total_price": str(number)}}
    return json.dumps({"gt_parse": parse, "meta": {"split": "test", "image_id": number}, "valid_line": []})


def cord_folder(folder: Path) -> Path:
    rows = []
    for number in range(2):
        write_png(folder / f"{number}.png", (number, 7, 7))
        rows.append({"file_name": f"{number}.png", "ground_truth": ground_truth(number)})
    write_lines(folder / "metadata.jsonl", *rows)
    return folder


def cord_table(folder: Path) -> Path:
    rows = [{"image": stored(n), "ground_truth": ground_truth(n)} for n in range(3)]
    return write_table(folder / "test.parquet", *rows)


def captions_table(folder: Path) -> Path:
    return write_table(folder / "train.parquet", {"image": stored(1), "text": "A brass candle holder."})


def medpix_table(folder: Path) -> Path:
    rows = [
        {"image_id": stored(1), "mode": "CT", "case_id": "c1", "question": question, "answer": "A cyst."}
        for question in ("What is shown?", "What is it?")
    ]
    return write_table(folder / "validation.parquet", *rows)


def llava_json(folder: Path) -> Path:
    write_png(folder / "images" / "a.png")
    row = {
        "id": "000000033471",
        "image": "images/a.png",
        "conversations": [
            {"from": "human", "value": "<image>\nWhat are the colours of the bus?"},
            {"from": "gpt", "value": "White and red."},
        ],
    }
    return write_json(folder / "llava_instruct.json", [row])


def chat_lines(folder: Path) -> Path:
    from base64 import b64encode

    write_png(folder / "a.png", "blue")
    url = f"data:image/png;base64,{b64encode(png_of('red')).decode()}"
    rows = [
        [
            {"role": "system", "content": "Answer in one word."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Which colour?"},
                    {"type": "image_url", "image_url": {"url": source, "detail": "auto"}},
                ],
            },
            {"role": "assistant", "content": said},
        ]
        for source, said in ((url, "red"), ("a.png", "blue"))
    ]
    return write_lines(folder / "chat.jsonl", *({"messages": turns} for turns in rows))


WRITERS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "ChartQA JSON": ("chartqa", chartqa_json),
    "ChartQA folder": ("chartqa", chartqa_folder),
    "ChartQA Parquet": ("chartqa", chartqa_table),
    "DocVQA": ("docvqa", docvqa_json),
    "TextVQA": ("textvqa", textvqa_json),
    "VQA v2": ("vqav2", vqav2_json),
    "CORD imagefolder": ("cord", cord_folder),
    "CORD Parquet": ("cord", cord_table),
    "RDR items": ("rdr", captions_table),
    "MedPix-VQA": ("medpix", medpix_table),
    "LLaVA": ("llava", llava_json),
    "OpenAI chat": ("openai", chat_lines),
}
"""Name of the source, and what writes a small data set and returns its path."""
