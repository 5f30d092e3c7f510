"""Text-only models."""

from tests.tiny.recipe import Recipe
from tests.tiny.towers import text
from tests.tiny.words import chatml, llama3

HEADERS = ("<|start_header_id|>", "<|end_header_id|>")

RECIPES = {
    "llama": Recipe(
        config=lambda t: text("llama", t),
        template=llama3(""),
        begin="<|begin_of_text|>",
        end="<|eot_id|>",
        specials=HEADERS,
        loader="AutoModelForCausalLM",
    ),
    "qwen2": Recipe(
        config=lambda t: {**text("qwen2", t), "tie_word_embeddings": True},
        template=chatml(""),
        end="<|im_end|>",
        specials=("<|im_start|>",),
        loader="AutoModelForCausalLM",
    ),
}
