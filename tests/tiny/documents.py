"""Readers of documents and films, and one that also draws: LightOnOCR, PaddleOCR-VL, VideoLLaMA 3, Janus."""

from typing import Any

from tests.tiny.recipe import Recipe
from tests.tiny.towers import HALVES, WIDTH, square, text, vision
from tests.tiny.words import chat, chatml


def lighton_ocr(tokenizer: Any) -> dict[str, Any]:
    """LightOnOCR: Pixtral's tower, a Qwen3 language model."""
    return {
        "model_type": "lighton_ocr", "vision_config": {**vision("pixtral"), "image_size": 64, "head_dim": 16},
        "text_config": text("qwen3", tokenizer), "spatial_merge_size": 2, "tie_word_embeddings": False,
        "image_token_id": tokenizer.convert_tokens_to_ids("<|image_pad|>"),
    }  # fmt: skip


def lighton_processor(tokenizer: Any) -> Any:
    """Keep the proportions of pictures, at most 48 pixels on the longest side."""
    from transformers import PixtralImageProcessorPil

    from apps.trainer.processor import processor_class

    pictures = PixtralImageProcessorPil(
        size={"longest_edge": 48}, patch_size={"height": 16, "width": 16}, **HALVES
    )
    return processor_class("LightOnOcrProcessor")(
        image_processor=pictures, tokenizer=tokenizer, patch_size=8, spatial_merge_size=2,
        chat_template=tokenizer.chat_template,
    )  # fmt: skip


def paddleocr_vl(tokenizer: Any) -> dict[str, Any]:
    """PaddleOCR-VL: pictures of any size, Ernie's language model."""
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}
    token = tokenizer.convert_tokens_to_ids
    tower = {**vision("paddleocr_vl_vision"), "spatial_merge_size": 2, "image_size": 64}
    return {
        "model_type": "paddleocr_vl", "vision_config": tower, "tie_word_embeddings": False,
        "text_config": text("paddleocr_vl_text", tokenizer, rope_parameters=rope),
        "image_token_id": token(PADDLE[0]), "vision_start_token_id": token(PADDLE[1]),
        "vision_end_token_id": token(PADDLE[2]), "video_token_id": token(PADDLE[3]),
    }  # fmt: skip


def paddle_processor(tokenizer: Any) -> Any:
    """Keep pictures' sizes within pixel limits."""
    from transformers import PaddleOCRVLImageProcessorPil, PaddleOCRVLProcessor

    pictures = PaddleOCRVLImageProcessorPil(
        patch_size=8, merge_size=2, temporal_patch_size=1,
        size={"shortest_edge": 256, "longest_edge": 2048}, **HALVES,
    )  # fmt: skip
    return PaddleOCRVLProcessor(
        image_processor=pictures, tokenizer=tokenizer, chat_template=tokenizer.chat_template
    )


PADDLE = ("<|IMAGE_PLACEHOLDER|>", "<|IMAGE_START|>", "<|IMAGE_END|>", "<|VIDEO_PLACEHOLDER|>")


def video_llama_3(tokenizer: Any) -> dict[str, Any]:
    """VideoLLaMA 3: pictures of any size, tokens compared before merging."""
    token = tokenizer.convert_tokens_to_ids
    return {
        "model_type": "video_llama_3", "vision_config": vision("video_llama_3_vision"),
        "text_config": text("qwen2", tokenizer), "image_token_id": token("<image>"),
        "video_token_id": token("<video>"),
    }  # fmt: skip


def video_llama_processor(tokenizer: Any) -> Any:
    """Make the processor without its video half."""
    from transformers import VideoLlama3ImageProcessorPil, VideoLlama3Processor

    from apps.trainer.processor import image_only

    pictures = VideoLlama3ImageProcessorPil(
        patch_size=8, merge_size=1, temporal_patch_size=1,
        size={"shortest_edge": 256, "longest_edge": 2048}, **HALVES,
    )  # fmt: skip
    return image_only(VideoLlama3Processor)(
        image_processor=pictures, tokenizer=tokenizer, chat_template=tokenizer.chat_template
    )


def janus(tokenizer: Any) -> dict[str, Any]:
    """Janus: the half that reads pictures, and the half that draws them, which stays as it is."""
    drawing = {
        "embed_dim": 8, "num_embeddings": 32, "latent_channels": 32, "base_channels": 32,
        "channel_multiplier": [1, 1], "num_res_blocks": 1, "num_patches": 16, "projection_dim": WIDTH,
        "num_hidden_layers": 1, "image_token_embed_dim": WIDTH,
    }  # fmt: skip
    tower = {
        **vision("janus_vision_model"),
        "projection_dim": WIDTH,
        "num_image_tokens": 16,
        "mlp_ratio": 2.0,
    }
    return {
        "model_type": "janus", "vision_config": tower, "vq_config": drawing,
        "text_config": text("llama", tokenizer), "tie_word_embeddings": False,
        "image_token_id": tokenizer.convert_tokens_to_ids("<image_placeholder>"),
    }  # fmt: skip


def janus_processor(tokenizer: Any) -> Any:
    """Scale every picture to 32 x 32."""
    from transformers import JanusImageProcessorPil, JanusProcessor

    pictures = JanusImageProcessorPil(size=square(32), **HALVES)
    return JanusProcessor(pictures, tokenizer, chat_template=tokenizer.chat_template, num_image_tokens=16)


def minicpmv4_6(tokenizer: Any) -> dict[str, Any]:
    """MiniCPM-V 4.6: slices in one long strip, merged once inside the tower and once behind it."""
    token = tokenizer.convert_tokens_to_ids
    language = text(
        "qwen3_5_text", tokenizer, num_hidden_layers=2, layer_types=["linear_attention", "full_attention"],
        linear_key_head_dim=16, linear_value_head_dim=16, linear_num_key_heads=4, linear_num_value_heads=4,
        rope_parameters={
            "rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3],
            "mrope_interleaved": True, "partial_rotary_factor": 1.0,
        },
    )  # fmt: skip
    return {
        "model_type": "minicpmv4_6", "text_config": language, "insert_layer_id": 0,
        "vision_config": {**vision("minicpmv4_6_vision"), "image_size": 64, "insert_layer_id": 0},
        "image_size": 64, "image_token_id": token(MINI[0]), "video_token_id": token(MINI[1]),
    }  # fmt: skip


def minicpm_processor(tokenizer: Any) -> Any:
    """Cut pictures into slices of about 32 x 32."""
    from transformers import MiniCPMV4_6ImageProcessorPil, MiniCPMV4_6Processor

    from apps.trainer.processor import image_only

    pictures = MiniCPMV4_6ImageProcessorPil(scale_resolution=32, patch_size=8, max_slice_nums=4, **HALVES)
    return image_only(MiniCPMV4_6Processor)(
        image_processor=pictures, video_processor=None, tokenizer=tokenizer,
        chat_template=tokenizer.chat_template,
    )  # fmt: skip


MINI = (
    "<|image_pad|>", "<|video_pad|>", "<image>", "</image>", "<slice>", "</slice>", "<image_id>",
    "</image_id>",
)  # fmt: skip
MINI_NAMES = (
    "image_token", "video_token", "image_start_token", "image_end_token", "slice_start_token",
    "slice_end_token", "image_id_start_token", "image_id_end_token",
)  # fmt: skip

DRAWN = ("<image_placeholder>", "<begin_of_image>", "<end_of_image>")

RECIPES = {
    "janus": Recipe(
        config=janus,
        template=chat(
            image="<image_placeholder>\\n",
            user="<|User|>: ",
            assistant="<|Assistant|>: ",
            close="\\n\\n",
            end="<|end|>",
            ask="<|Assistant|>:",
        ),
        end="<|end|>",
        specials=DRAWN,
        named={"image_token": DRAWN[0], "boi_token": DRAWN[1], "eoi_token": DRAWN[2]},
        processor=janus_processor,
    ),
    "lighton_ocr": Recipe(
        config=lighton_ocr,
        template=chatml("<|image_pad|>"),
        end="<|im_end|>",
        specials=("<|im_start|>", "<|image_pad|>", "<|vision_pad|>", "<|vision_end|>"),
        named={
            "image_token": "<|image_pad|>",
            "image_break_token": "<|vision_pad|>",
            "image_end_token": "<|vision_end|>",
        },
        processor=lighton_processor,
    ),
    "minicpmv4_6": Recipe(
        config=minicpmv4_6,
        template=chatml("<|image_pad|>"),
        end="<|im_end|>",
        specials=("<|im_start|>", *MINI),
        named=dict(zip(MINI_NAMES, MINI, strict=True)),
        processor=minicpm_processor,
    ),
    "paddleocr_vl": Recipe(
        config=paddleocr_vl,
        template=chat(
            begin="<|begin_of_sentence|>",
            image="<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>",
            user="User: ",
            assistant="Assistant: ",
            close="\\n",
            end="</s>",
            ask="Assistant:",
        ),
        begin="<|begin_of_sentence|>",
        end="</s>",
        specials=PADDLE,
        named={"image_token": PADDLE[0]},
        processor=paddle_processor,
    ),
    "video_llama_3": Recipe(
        config=video_llama_3,
        template=chatml("<image>\\n"),
        end="<|im_end|>",
        specials=("<|im_start|>", "<image>", "<video>"),
        named={"image_token": "<image>", "video_token": "<video>"},
        processor=video_llama_processor,
    ),
}
