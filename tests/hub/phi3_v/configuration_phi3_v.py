"""Configuration of a small model that comes with its own code."""

from transformers import PretrainedConfig


class Phi3VConfig(PretrainedConfig):
    model_type = "phi3_v"

    def __init__(
        self, vocab_size=32, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, patch_size=4, **kwargs
    ):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.patch_size = patch_size
        super().__init__(**kwargs)
