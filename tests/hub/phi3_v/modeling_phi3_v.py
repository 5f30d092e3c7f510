"""A small model that comes with its own code; its modules have the names of Phi-3.5-vision's."""

from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from .configuration_phi3_v import Phi3VConfig


class Attention(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.qkv_proj = nn.Linear(size, 3 * size, bias=False)
        self.o_proj = nn.Linear(size, size, bias=False)

    def forward(self, x):  # (rows, length, size)
        q, k, v = self.qkv_proj(x).chunk(3, dim=-1)
        return self.o_proj(nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True))


class MLP(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.gate_up_proj = nn.Linear(size, 4 * size, bias=False)
        self.down_proj = nn.Linear(2 * size, size, bias=False)

    def forward(self, x):
        gate, up = self.gate_up_proj(x).chunk(2, dim=-1)
        return self.down_proj(nn.functional.silu(gate) * up)


class Layer(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.self_attn = Attention(size)
        self.mlp = MLP(size)

    def forward(self, x):
        x = x + self.self_attn(x)
        return x + self.mlp(x)


class ImageEmbedding(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.img_processor = nn.Conv2d(3, size, kernel_size=4, stride=4)
        self.img_projection = nn.Linear(size, size)


class Phi3VModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.vision_embed_tokens = ImageEmbedding(config.hidden_size)
        self.layers = nn.ModuleList(Layer(config.hidden_size) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size)


class Phi3VForCausalLM(PreTrainedModel):
    config_class = Phi3VConfig

    def __init__(self, config):
        super().__init__(config)
        self.model = Phi3VModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def forward(self, input_ids, **kwargs):
        x = self.model.embed_tokens(input_ids)
        for layer in self.model.layers:
            x = layer(x)
        return CausalLMOutput(logits=self.lm_head(self.model.norm(x)))
