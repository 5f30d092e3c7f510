"""MiniCPM-V 4.7: 4.6's layout, positions told by `mm_token_type_ids`."""

from dataclasses import replace

from apps.trainer.families import minicpmv4_6

FAMILY = replace(
    minicpmv4_6.FAMILY,
    name="minicpmv4_7",
    model_types=("minicpmv4_7",),
    ids=(r"minicpm-v-4[._]7",),
    required_inputs=("mm_token_type_ids", "target_sizes"),
    batches="alone",
)
