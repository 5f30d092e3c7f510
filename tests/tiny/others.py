"""Families of one house each: InternVL, Aya Vision, GLM-4V, Llama 3.2 Vision, DeepSeek-VL, Ovis2, Aria."""

from typing import Any

from tests.tiny.recipe import Recipe
from tests.tiny.towers import HALVES, WIDTH, square, text, vision
from tests.tiny.words import chat, chatml, llama3


def internvl(tokenizer: Any) -> dict[str, Any]:
    """InternVL: tiles, pixel shuffle by 2."""
    tower = {**vision("internvl_vision"), "image_size": [32, 32], "patch_size": [8, 8]}
    return {
        "model_type": "internvl", "vision_config": tower, "text_config": text("qwen2", tokenizer),
        "image_token_id": tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"), "image_seq_length": 4,
        "downsample_ratio": 0.5, "tie_word_embeddings": False,
    }  # fmt: skip


def tiles(**more: Any) -> Any:
    """Cut pictures into at most 4 tiles of 32 x 32, with a small copy of the whole."""
    from transformers import GotOcr2ImageProcessorPil

    return GotOcr2ImageProcessorPil(size=square(32), crop_to_patches=True, max_patches=4, **HALVES, **more)


def internvl_processor(tokenizer: Any) -> Any:
    """Make InternVL's processor without its video half."""
    from transformers import InternVLProcessor

    from apps.trainer.processor import image_only

    return image_only(InternVLProcessor)(
        image_processor=tiles(), tokenizer=tokenizer, image_seq_length=4,
        chat_template=tokenizer.chat_template,
    )  # fmt: skip


def aya_vision(tokenizer: Any) -> dict[str, Any]:
    """Aya Vision: tiles, a Cohere language model."""
    return {
        "model_type": "aya_vision", "text_config": text("cohere2", tokenizer, sliding_window=64),
        "vision_config": vision("siglip_vision_model", vision_use_head=False), "downsample_factor": 2,
        "image_token_index": tokenizer.convert_tokens_to_ids("<|IMG_PATCH|>"),
    }  # fmt: skip


def aya_processor(tokenizer: Any) -> Any:
    """Make Aya Vision's processor."""
    from transformers import AyaVisionProcessor

    return AyaVisionProcessor(
        image_processor=tiles(), tokenizer=tokenizer, patch_size=8, img_size=32, downsample_factor=2,
        chat_template=tokenizer.chat_template,
    )  # fmt: skip


COHERE = (
    "<|START_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>", "<image>", "<|START_OF_IMG|>",
    "<|END_OF_IMG|>", "<|IMG_PATCH|>", "<|IMG_LINE_BREAK|>", "TILE", "TILE_GLOBAL",
    *(f"TILE_{i}" for i in range(1, 5)),
)  # fmt: skip


def glm4v_moe(tokenizer: Any) -> dict[str, Any]:
    """GLM-4.5V: the second layer has experts beside a shared one."""
    config = glm4v(tokenizer)
    config["text_config"] |= {
        "moe_intermediate_size": 64, "n_routed_experts": 4, "num_experts_per_tok": 2, "head_dim": 16,
    }  # fmt: skip
    return {**config, "model_type": "glm4v_moe"}


def glm4v(tokenizer: Any) -> dict[str, Any]:
    """GLM-4.1V: pictures of any size, a merger with a convolution before it."""
    tower = {
        "depth": 2, "hidden_size": WIDTH, "out_hidden_size": WIDTH, "intermediate_size": 128, "num_heads": 4,
        "patch_size": 8, "image_size": 64, "spatial_merge_size": 2, "temporal_patch_size": 2,
    }  # fmt: skip
    token = tokenizer.convert_tokens_to_ids
    rope = {
        "rope_type": "default",
        "rope_theta": 1e4,
        "mrope_section": [2, 3, 3],
        "partial_rotary_factor": 1.0,
    }
    return {
        "model_type": "glm4v", "text_config": text(None, tokenizer, rope_parameters=rope),
        "vision_config": tower, "image_token_id": token("<|image|>"), "video_token_id": token("<|video|>"),
        "image_start_token_id": token(GLM[2]), "image_end_token_id": token(GLM[3]),
        "video_start_token_id": token(GLM[4]), "video_end_token_id": token(GLM[5]),
    }  # fmt: skip


GLM = (
    "<|image|>", "<|video|>", "<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>",
    "<|end_of_video|>", "[gMASK]", "<sop>", "<|assistant|>", "<|system|>",
)  # fmt: skip


def glm4v_processor(tokenizer: Any) -> Any:
    """Make GLM-4.1V's processor without its video half."""
    from transformers import Glm4vImageProcessorPil, Glm4vProcessor

    from apps.trainer.processor import image_only

    pictures = Glm4vImageProcessorPil(
        patch_size=8, size={"shortest_edge": 512, "longest_edge": 4096}, **HALVES
    )
    return image_only(Glm4vProcessor)(
        image_processor=pictures, tokenizer=tokenizer, chat_template=tokenizer.chat_template
    )


def mllama(tokenizer: Any) -> dict[str, Any]:
    """Llama 3.2 Vision: the second of three language layers attends to the picture."""
    tower = {
        "hidden_size": WIDTH, "num_hidden_layers": 2, "num_global_layers": 1, "attention_heads": 4,
        "intermediate_size": 128, "vision_output_dim": 2 * WIDTH, "image_size": 32, "patch_size": 8,
        "max_num_tiles": 4, "intermediate_layers_indices": [0],
        "supported_aspect_ratios": [[1, 1], [1, 2], [1, 3], [1, 4], [2, 1], [2, 2], [3, 1], [4, 1]],
    }  # fmt: skip
    language = text(None, tokenizer, num_hidden_layers=3, cross_attention_layers=[1])
    del language["head_dim"]
    return {
        "model_type": "mllama", "vision_config": tower, "text_config": language,
        "image_token_index": tokenizer.convert_tokens_to_ids("<|image|>"),
    }  # fmt: skip


def mllama_processor(tokenizer: Any) -> Any:
    """Cut pictures into at most 4 tiles of 32 x 32."""
    from transformers import MllamaImageProcessorPil, MllamaProcessor

    pictures = MllamaImageProcessorPil(size=square(32), max_image_tiles=4, **HALVES)
    return MllamaProcessor(pictures, tokenizer, chat_template=tokenizer.chat_template)


def deepseek_vl(tokenizer: Any) -> dict[str, Any]:
    """DeepSeek-VL: SigLIP, an aligner, a Llama."""
    return {
        "model_type": "deepseek_vl", "text_config": text("llama", tokenizer),
        "vision_config": vision("siglip_vision_model", vision_use_head=False),
        "image_token_id": tokenizer.convert_tokens_to_ids("<image_placeholder>"),
        "tie_word_embeddings": False,
    }  # fmt: skip


def deepseek_processor(tokenizer: Any) -> Any:
    """Scale every picture to 32 x 32."""
    from transformers import DeepseekVLImageProcessorPil, DeepseekVLProcessor

    pictures = DeepseekVLImageProcessorPil(size=square(32), **HALVES)
    return DeepseekVLProcessor(
        pictures, tokenizer, chat_template=tokenizer.chat_template, num_image_tokens=16
    )


def deepseek_vl_hybrid(tokenizer: Any) -> dict[str, Any]:
    """DeepSeek-VL 7B: a second tower, SAM's, on the same picture at twice the size."""
    sam = {
        "model_type": "sam_vision_model", "hidden_size": WIDTH, "output_channels": 16, "num_hidden_layers": 2,
        "num_attention_heads": 4, "image_size": 64, "patch_size": 8, "window_size": 4, "mlp_dim": 128,
        "global_attn_indexes": [1], "num_pos_feats": 32, "initializer_range": 0.06,
    }  # fmt: skip
    return {
        **deepseek_vl(tokenizer), "model_type": "deepseek_vl_hybrid", "high_res_vision_config": sam,
    }  # fmt: skip


def hybrid_processor(tokenizer: Any) -> Any:
    """Scale every picture to 32 x 32 and to 64 x 64."""
    from transformers import DeepseekVLHybridImageProcessorPil, DeepseekVLHybridProcessor

    pictures = DeepseekVLHybridImageProcessorPil(size=square(32), high_res_size=square(64), **HALVES)
    return DeepseekVLHybridProcessor(
        pictures, tokenizer, chat_template=tokenizer.chat_template, num_image_tokens=16
    )


def ovis2(tokenizer: Any) -> dict[str, Any]:
    """Ovis2: features looked up in a table of visual words."""
    token = tokenizer.convert_tokens_to_ids
    tower = {
        **vision("ovis2_vision"), "vocab_size": 128, "hidden_stride": 2, "num_visual_indicator_tokens": 5,
    }  # fmt: skip
    return {
        "model_type": "ovis2", "text_config": text("qwen2", tokenizer), "vision_config": tower,
        "image_token_id": token("<IMG_ATOM>"), "visual_indicator_token_ids": [token(m) for m in OVIS[2:]],
        "hidden_size": WIDTH, "vocab_size": 512,
    }  # fmt: skip


OVIS = ("<image>", "<IMG_ATOM>", "<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>")


def ovis2_processor(tokenizer: Any) -> Any:
    """Scale every picture to 32 x 32."""
    from transformers import Ovis2ImageProcessorPil, Ovis2Processor

    pictures = Ovis2ImageProcessorPil(size=square(32), **HALVES)
    return Ovis2Processor(
        image_processor=pictures, tokenizer=tokenizer, image_seq_length=4,
        chat_template=tokenizer.chat_template,
    )  # fmt: skip


def _deepseek(config: Any, processor: Any) -> Recipe:
    return Recipe(
        config=config,
        template=chat(
            image="<image_placeholder>",
            user="User: ",
            assistant="Assistant: ",
            close="\\n\\n",
            end="<\uff5cend\u2581of\u2581sentence\uff5c>",
            ask="Assistant:",
        ),
        end="<\uff5cend\u2581of\u2581sentence\uff5c>",
        specials=("<image_placeholder>",),
        named={"image_token": "<image_placeholder>"},
        processor=processor,
    )


def _glm(config: Any) -> Recipe:
    return Recipe(
        config=config,
        template=chat(
            begin="[gMASK]<sop>",
            image="<|begin_of_image|><|image|><|end_of_image|>",
            user="<|ROLE|>\\n",
            assistant="<|assistant|>\\n",
            close="",
            end="<|user|>",
            ask="<|assistant|>\\n",
        ),
        end="<|user|>",
        specials=GLM,
        processor=glm4v_processor,
    )


RECIPES = {
    "internvl": Recipe(
        config=internvl,
        template=chatml("<IMG_CONTEXT>\\n"),
        end="<|im_end|>",
        specials=("<|im_start|>", "<img>", "</img>", "<IMG_CONTEXT>", "<video>"),
        named={
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        },
        processor=internvl_processor,
    ),
    "aya_vision": Recipe(
        config=aya_vision,
        template=chat(
            begin="<BOS_TOKEN>",
            image="<image>",
            user="<|START_OF_TURN_TOKEN|><|USER_TOKEN|>",
            assistant="<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
            close="<|END_OF_TURN_TOKEN|>",
            end="<|END_OF_TURN_TOKEN|>",
            ask="<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
        ),
        begin="<BOS_TOKEN>",
        end="<|END_OF_TURN_TOKEN|>",
        specials=COHERE,
        processor=aya_processor,
    ),
    "glm4v": _glm(glm4v),
    "glm4v_moe": _glm(glm4v_moe),
    "glm_ocr": _glm(lambda t: {**glm4v(t), "model_type": "glm_ocr"}),
    "mllama": Recipe(
        config=mllama,
        template=llama3("<|image|>"),
        begin="<|begin_of_text|>",
        end="<|eot_id|>",
        specials=("<|start_header_id|>", "<|end_header_id|>", "<|image|>", "<|python_tag|>"),
        processor=mllama_processor,
    ),
    "deepseek_vl": _deepseek(deepseek_vl, deepseek_processor),
    "deepseek_vl_hybrid": _deepseek(deepseek_vl_hybrid, hybrid_processor),
    "ovis2": Recipe(
        config=ovis2,
        template=chatml("<image>\\n"),
        end="<|im_end|>",
        specials=("<|im_start|>", *OVIS),
        processor=ovis2_processor,
    ),
}
