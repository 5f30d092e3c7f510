"""Tokenizers and chat templates in the formats that the families speak."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.tiny.recipe import Recipe

TEXTS = (
    "Which colour is it?", "What do you see in the picture?", "Answer with one word.", "red green blue",
    "You are helpful.", "system user assistant model", "one two three yes no", "Say nothing of the image.",
)  # fmt: skip


def build_tokenizer(recipe: "Recipe", size: int) -> Any:
    """Train a byte-level BPE on a few sentences; bytes are its alphabet, so any text has tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    names = dict.fromkeys(
        [recipe.pad, *([recipe.begin] if recipe.begin else []), recipe.end, *recipe.specials]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size - 16, special_tokens=[AddedToken(n, special=True, normalized=False) for n in names],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
    )  # fmt: skip
    bpe.train_from_iterator([text for text in TEXTS for _ in range(4)], trainer)
    if recipe.begin:
        bpe.post_processor = processors.TemplateProcessing(
            single=f"{recipe.begin} $A", special_tokens=[(recipe.begin, bpe.token_to_id(recipe.begin))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token=recipe.begin, eos_token=recipe.end, pad_token=recipe.pad,
        padding_side="right", model_max_length=4096, clean_up_tokenization_spaces=False,
        chat_template=recipe.template or None, extra_special_tokens=dict(recipe.named),
    )  # fmt: skip


def chat(
    *,
    image: str,
    user: str,
    assistant: str,
    close: str,
    end: str,
    ask: str,
    begin: str = "",
    trim: bool = False,
) -> str:
    r"""Write a chat template from what stands before and behind each turn.

    `user` may hold ROLE, which becomes the turn's role. `close` ends a user's or system's turn, `end`
    the assistant's, `ask` opens the assistant's when it is to speak. Texts are inside Jinja quotes: `\\n`.
    """
    cut = " | trim" if trim else ""
    opening = " + message['role'] + ".join(f"'{piece}'" for piece in user.split("ROLE"))
    return (
        f"{{{{- '{begin}' -}}}}"
        "{%- for message in messages -%}"
        "{%- if message['role'] == 'assistant' -%}"
        f"{{{{- '{assistant}' -}}}}"
        "{%- else -%}"
        f"{{{{- {opening} -}}}}"
        "{%- endif -%}"
        f"{{%- if message['content'] is string -%}}{{{{- message['content']{cut} -}}}}"
        "{%- else -%}{%- for part in message['content'] -%}"
        f"{{%- if part['type'] == 'image' -%}}{{{{- '{image}' -}}}}"
        f"{{%- else -%}}{{{{- part['text']{cut} -}}}}{{%- endif -%}}"
        "{%- endfor -%}{%- endif -%}"
        "{%- if message['role'] == 'assistant' -%}"
        f"{{{{- '{end}' -}}}}"
        "{%- else -%}"
        f"{{{{- '{close}' -}}}}"
        "{%- endif -%}"
        "{%- endfor -%}"
        f"{{%- if add_generation_prompt -%}}{{{{- '{ask}' -}}}}{{%- endif -%}}\n"
    )


def chatml(image: str) -> str:
    """Write the ChatML template that Qwen, InternVL, LLaVA-OneVision and others use."""
    turn = "<|im_start|>assistant\\n"
    return chat(
        image=image, user="<|im_start|>ROLE\\n", assistant=turn, close="<|im_end|>\\n",
        end="<|im_end|>\\n", ask=turn,
    )  # fmt: skip


def llama3(image: str) -> str:
    """Write Llama 3's template."""
    turn = "<|start_header_id|>assistant<|end_header_id|>\\n\\n"
    return chat(
        begin="<|begin_of_text|>", image=image, user="<|start_header_id|>ROLE<|end_header_id|>\\n\\n",
        assistant=turn, close="<|eot_id|>", end="<|eot_id|>", ask=turn,
    )  # fmt: skip


def inst(image: str) -> str:
    """Write Mistral's template, whose assistant turn has no opening of its own."""
    return chat(begin="<s>", image=image, user="[INST] ", assistant=" ", close=" [/INST]", end="</s>", ask="")


def utterances(image: str) -> str:
    """Write Idefics' template."""
    return chat(
        begin="<|begin_of_text|>", image=image, user="User: ", assistant="Assistant: ",
        close="<end_of_utterance>\\n", end="<end_of_utterance>\\n", ask="Assistant:",
    )  # fmt: skip


def gemma(image: str) -> str:
    """Write Gemma's template, which trims every text."""
    turn = "<start_of_turn>model\\n"
    return chat(
        begin="<bos>", image=image, user="<start_of_turn>user\\n", assistant=turn,
        close="<end_of_turn>\\n", end="<end_of_turn>\\n", ask=turn, trim=True,
    )  # fmt: skip
