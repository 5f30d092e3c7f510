"""The processor that comes with that model: one string, numbered images, negative ids where features go."""

import re

import numpy as np
import torch
from transformers import BatchFeature, ProcessorMixin

PLACE = re.compile(r"<\|image_(\d+)\|>")
TOKENS, SIDE = 313, 336  # of an image of one tile: two of 12 x 12, their line ends and a separator


class Phi3VProcessor(ProcessorMixin):
    def __init__(self, image_processor=None, tokenizer=None, **kwargs):
        super().__init__(image_processor, tokenizer)

    def __call__(self, text, images=None, return_tensors="pt"):
        if images is None:
            return BatchFeature(data={**self.tokenizer([text], return_tensors=return_tensors)})
        numbers = [int(number) for number in PLACE.findall(text)]
        assert numbers == list(range(1, len(images) + 1)), "images are numbered from 1"
        chunks = [self.tokenizer(chunk).input_ids for chunk in PLACE.split(text)[::2]]
        ids = chunks[0]
        for number, chunk in zip(numbers, chunks[1:], strict=True):
            ids = [*ids, *[-number] * TOKENS, *chunk]
        ids = torch.tensor([ids])
        whole = [np.asarray(image.convert("RGB").resize((SIDE, SIDE))) / 127.5 - 1 for image in images]
        pixels = torch.tensor(np.stack(whole), dtype=torch.float32).permute(0, 3, 1, 2)
        data = {
            "input_ids": ids,
            "attention_mask": (ids > -1000000).long(),
            "pixel_values": torch.stack([pixels, pixels], dim=1),  # (images, whole and tile, 3, SIDE, SIDE)
            "image_sizes": torch.full((len(images), 2), SIDE),
        }
        return BatchFeature(data=data)
