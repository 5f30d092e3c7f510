"""MiniCPM-OCR: MiniCPM-V 4.6's layout, whose image processor knows torchvision alone."""

from dataclasses import replace

from apps.trainer.families import minicpmv4_6

FAMILY = replace(
    minicpmv4_6.FAMILY,
    name="minicpm_ocr",
    model_types=("minicpm_ocr",),
    ids=("minicpm-ocr",),
    needs=("torchvision",),
    batches="alone",
)
