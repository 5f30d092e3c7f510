"""Gemma: a SigLIP tower, features pooled, attention both ways among one picture's tokens."""

from typing import Any

from tests.tiny.recipe import Recipe
from tests.tiny.towers import HALVES, square, text, vision
from tests.tiny.words import chat, gemma

MARKS = ("<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>", "<image_soft_token>")
NAMED = {"boi_token": MARKS[2], "eoi_token": MARKS[3], "image_token": MARKS[4]}


def gemma3(tokenizer: Any) -> dict[str, Any]:
    """Gemma 3: 16 patches pooled to 4 tokens."""
    token = tokenizer.convert_tokens_to_ids
    return {
        "model_type": "gemma3",
        "text_config": text("gemma3_text", tokenizer, sliding_window=64, query_pre_attn_scalar=16),
        "vision_config": vision("siglip_vision_model", vision_use_head=False), "mm_tokens_per_image": 4,
        "boi_token_index": token(MARKS[2]), "eoi_token_index": token(MARKS[3]),
        "image_token_index": token(MARKS[4]), "eos_token_id": [tokenizer.eos_token_id, token(MARKS[1])],
    }  # fmt: skip


def gemma3_processor(tokenizer: Any) -> Any:
    """Scale every picture to 32 x 32."""
    from transformers import Gemma3ImageProcessorPil, Gemma3Processor

    pictures = Gemma3ImageProcessorPil(size=square(32), **HALVES)
    return Gemma3Processor(pictures, tokenizer, chat_template=tokenizer.chat_template, image_seq_length=4)


def gemma4(tokenizer: Any) -> dict[str, Any]:
    """Gemma 4 without its audio tower: pictures of any size, patches pooled nine to a token."""
    token = tokenizer.convert_tokens_to_ids
    language = text(
        "gemma4_text", tokenizer, sliding_window=64, hidden_size_per_layer_input=16,
        vocab_size_per_layer_input=512, global_head_dim=16, num_global_key_value_heads=2,
        layer_types=["sliding_attention", "full_attention"],
    )  # fmt: skip
    tower = {**vision("gemma4_vision"), "num_key_value_heads": 4, "head_dim": 16, "pooling_kernel_size": 2}
    tower["position_embedding_size"] = 64
    return {
        "model_type": "gemma4", "text_config": language, "vision_config": tower, "audio_config": None,
        "boi_token_id": token(FOUR[2]), "eoi_token_id": token(FOUR[3]), "image_token_id": token(FOUR[4]),
        "video_token_id": token("<|video|>"), "audio_token_id": token("<|audio|>"),
        "boa_token_id": token("<|audio>"), "eoa_token_index": token("<audio|>"),
        "eos_token_id": [tokenizer.eos_token_id, token(FOUR[1])],
    }  # fmt: skip


def gemma4_processor(tokenizer: Any) -> Any:
    """Keep the proportions of pictures, at most 16 tokens each."""
    from transformers import Gemma4ImageProcessorPil, Gemma4Processor

    from apps.trainer.processor import image_only

    pictures = Gemma4ImageProcessorPil(patch_size=8, max_soft_tokens=70, pooling_kernel_size=2)
    return image_only(Gemma4Processor)(
        image_processor=pictures, tokenizer=tokenizer, chat_template=tokenizer.chat_template,
        feature_extractor=None, video_processor=None,
    )  # fmt: skip


FOUR = (
    "<|turn>",
    "<turn|>",
    "<|image>",
    "<image|>",
    "<|image|>",
    "<|video|>",
    "<|audio|>",
    "<|audio>",
    "<audio|>",
)
FOUR_NAMED = {
    "boi_token": FOUR[2], "eoi_token": FOUR[3], "image_token": FOUR[4], "audio_token": FOUR[6],
    "boa_token": FOUR[7], "eoa_token": FOUR[8],
}  # fmt: skip


def paligemma(tokenizer: Any) -> dict[str, Any]:
    """PaliGemma: attention both ways over picture and question."""
    return {
        "model_type": "paligemma", "text_config": text("gemma", tokenizer), "projection_dim": 64,
        "vision_config": vision("siglip_vision_model", vision_use_head=False, projection_dim=64),
        "hidden_size": 64, "image_token_index": tokenizer.convert_tokens_to_ids("<image>"),
    }  # fmt: skip


def paligemma_processor(tokenizer: Any) -> Any:
    """Scale every picture to 32 x 32."""
    from transformers import PaliGemmaProcessor, SiglipImageProcessorPil

    pictures = SiglipImageProcessorPil(size=square(32), **HALVES)
    pictures.image_seq_length = 16
    return PaliGemmaProcessor(image_processor=pictures, tokenizer=tokenizer)


RECIPES = {
    "paligemma": Recipe(
        config=paligemma,
        begin="<bos>",
        end="<eos>",
        specials=("<image>",),
        processor=paligemma_processor,
    ),
    "gemma4": Recipe(
        config=gemma4,
        template=chat(
            begin="<bos>",
            image="<|image|>",
            user="<|turn>ROLE\\n",
            assistant="<|turn>model\\n",
            close="<turn|>\\n",
            end="<turn|>\\n",
            ask="<|turn>model\\n",
            trim=True,
        ),
        begin="<bos>",
        end="<eos>",
        specials=FOUR,
        named=FOUR_NAMED,
        processor=gemma4_processor,
    ),
    "gemma3": Recipe(
        config=gemma3,
        template=gemma("<start_of_image>"),
        begin="<bos>",
        end="<eos>",
        specials=MARKS,
        named=NAMED,
        processor=gemma3_processor,
    ),
}
