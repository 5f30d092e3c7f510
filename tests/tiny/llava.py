"""LLaVA and its kin: a CLIP or SigLIP tower, a projector, a language model."""

from typing import Any

from tests.tiny.recipe import Recipe
from tests.tiny.towers import HALVES, square, text, vision
from tests.tiny.words import chatml, inst


def clip(**more: Any) -> dict[str, Any]:
    """A CLIP tower of three layers, the last of which LLaVA does not read."""
    return vision("clip_vision_model", num_hidden_layers=3, projection_dim=64, **more)


def llava_next(tokenizer: Any) -> dict[str, Any]:
    """LLaVA-NeXT: the picture whole and in tiles, rows of features ended by `image_newline`."""
    return {
        "model_type": "llava_next", "vision_config": clip(), "text_config": text("mistral", tokenizer),
        "image_token_index": tokenizer.convert_tokens_to_ids("<image>"), "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default", "image_seq_length": 16,
        "image_grid_pinpoints": [[32, 64], [64, 32], [64, 64]], "tie_word_embeddings": False,
    }  # fmt: skip


def next_processor(tokenizer: Any) -> Any:
    """Cut pictures into tiles of 32 x 32."""
    from transformers import LlavaNextImageProcessorPil, LlavaNextProcessor

    pictures = LlavaNextImageProcessorPil(
        size={"shortest_edge": 32}, crop_size=square(32), **HALVES,
        image_grid_pinpoints=[[32, 64], [64, 32], [64, 64]],
    )  # fmt: skip
    return LlavaNextProcessor(
        image_processor=pictures, tokenizer=tokenizer, patch_size=8, num_additional_image_tokens=1,
        vision_feature_select_strategy="default", chat_template=tokenizer.chat_template,
    )  # fmt: skip


def vipllava(tokenizer: Any) -> dict[str, Any]:
    """ViP-LLaVA: features of several layers side by side."""
    return {
        "model_type": "vipllava", "vision_config": clip(), "text_config": text("llama", tokenizer),
        "image_token_index": tokenizer.convert_tokens_to_ids("<image>"), "vision_feature_layers": [-2, -1],
        "vision_feature_layer": [-2, -1], "image_seq_length": 16,
    }  # fmt: skip


def fixed_processor(tokenizer: Any) -> Any:
    """Scale every picture to 32 x 32."""
    from transformers import CLIPImageProcessorPil, LlavaProcessor

    pictures = CLIPImageProcessorPil(size=square(32), crop_size=square(32), do_center_crop=False, **HALVES)
    return LlavaProcessor(
        image_processor=pictures, tokenizer=tokenizer, patch_size=8, num_additional_image_tokens=1,
        vision_feature_select_strategy="default", chat_template=tokenizer.chat_template,
    )  # fmt: skip


def llava_onevision(tokenizer: Any) -> dict[str, Any]:
    """LLaVA-OneVision: SigLIP, tiles, a Qwen2 language model."""
    token = tokenizer.convert_tokens_to_ids
    return {
        "model_type": "llava_onevision",
        "vision_config": vision("siglip_vision_model", vision_use_head=False),
        "text_config": text("qwen2", tokenizer), "image_token_index": token("<image>"),
        "video_token_index": token("<video>"), "image_grid_pinpoints": PINPOINTS,
        "vision_feature_select_strategy": "full",
    }  # fmt: skip


def onevision_processor(tokenizer: Any) -> Any:
    """Cut pictures into tiles of 32 x 32."""
    from transformers import LlavaOnevisionImageProcessorPil, LlavaOnevisionProcessor

    from apps.trainer.processor import image_only

    pictures = LlavaOnevisionImageProcessorPil(size=square(32), image_grid_pinpoints=PINPOINTS, **HALVES)
    return image_only(LlavaOnevisionProcessor)(
        image_processor=pictures, tokenizer=tokenizer, num_image_tokens=16,
        vision_feature_select_strategy="full", chat_template=tokenizer.chat_template,
    )  # fmt: skip


def pixtral(tokenizer: Any) -> dict[str, Any]:
    """Pixtral in LLaVA's class: pictures of any size, every patch a token."""
    return {
        "model_type": "llava", "vision_config": pixtral_tower(), "text_config": text("mistral", tokenizer),
        "image_token_index": tokenizer.convert_tokens_to_ids("[IMG]"), "vision_feature_layer": -1,
        "vision_feature_select_strategy": "full", "image_seq_length": 1,
    }  # fmt: skip


def pixtral_tower() -> dict[str, Any]:
    """Two layers over pictures of at most 64 x 64 pixels."""
    return {**vision("pixtral"), "image_size": 64, "head_dim": 16}


def mistral3(tokenizer: Any, language: str) -> dict[str, Any]:
    """Mistral Small 3 and Ministral 3: Pixtral's tower, patches merged four to a token."""
    more: dict[str, Any] = {}
    if language == "ministral3":
        more["rope_parameters"] = {
            "rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0, "original_max_position_embeddings": 1024,
            "llama_4_scaling_beta": 0.1, "beta_fast": 32.0, "beta_slow": 1.0, "mscale": 1.0,
            "mscale_all_dim": 1.0,
        }  # fmt: skip
    return {
        "model_type": "mistral3", "vision_config": pixtral_tower(),
        "text_config": text(language, tokenizer, **more), "spatial_merge_size": 2, "vision_feature_layer": -1,
        "image_token_index": tokenizer.convert_tokens_to_ids("[IMG]"), "tie_word_embeddings": False,
    }  # fmt: skip


def pixtral_processor(tokenizer: Any, merge: int = 1) -> Any:
    """Keep the proportions of pictures, at most 48 pixels on the longest side."""
    from transformers import PixtralImageProcessorPil

    from apps.trainer.processor import processor_class

    pictures = PixtralImageProcessorPil(
        size={"longest_edge": 48}, patch_size={"height": 8 * merge, "width": 8 * merge}, **HALVES
    )
    return processor_class("PixtralProcessor")(
        image_processor=pictures, tokenizer=tokenizer, patch_size=8, spatial_merge_size=merge,
        chat_template=tokenizer.chat_template,
    )  # fmt: skip


PINPOINTS = [[32, 64], [64, 32], [64, 64]]
BREAKS = ("[IMG]", "[IMG_BREAK]", "[IMG_END]")


def _pixtral(config: Any, merge: int) -> Recipe:
    return Recipe(
        config=config,
        template=inst("[IMG]"),
        begin="<s>",
        end="</s>",
        specials=("[INST]", "[/INST]", *BREAKS),
        processor=lambda t: pixtral_processor(t, merge),
    )


RECIPES = {
    "pixtral": _pixtral(pixtral, 1),
    "mistral3": _pixtral(lambda t: mistral3(t, "mistral"), 2),
    "ministral3": _pixtral(lambda t: mistral3(t, "ministral3"), 2),
    "vipllava": Recipe(
        config=vipllava,
        template=inst("<image>\\n"),
        begin="<s>",
        end="</s>",
        specials=("<image>",),
        processor=fixed_processor,
    ),
    "llava_onevision": Recipe(
        config=llava_onevision,
        template=chatml("<image>\\n"),
        end="<|im_end|>",
        specials=("<|im_start|>", "<image>", "<video>"),
        processor=onevision_processor,
    ),
    "llava_next": Recipe(
        config=llava_next,
        template=inst("<image>\\n"),
        begin="<s>",
        end="</s>",
        specials=("<image>",),
        processor=next_processor,
    ),
}
