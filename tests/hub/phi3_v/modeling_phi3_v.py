"""A small model that comes with its own code; its modules have the names of Phi-3.5-vision's."""

import torch
from torch import nn
from transformers import GenerationMixin, PreTrainedModel
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
    def __init__(self, size, patch):
        super().__init__()
        self.img_processor = nn.Conv2d(3, size, kernel_size=patch, stride=patch)
        self.img_projection = nn.Linear(size, size)

    def forward(self, pixel_values):  # (images, tiles, 3, side, side) -> (images, features, size)
        pixels = pixel_values.flatten(0, 1).to(self.img_processor.weight.dtype)
        seen = self.img_processor(pixels).flatten(2).transpose(1, 2)
        seen = seen.unflatten(0, pixel_values.shape[:2])  # (images, tiles, patches, size)
        rows = int(seen.shape[2] ** 0.5)
        gaps = seen.new_zeros(seen.shape[0], 1 + 2 * rows, seen.shape[3])  # line ends and a separator
        return self.img_projection(torch.cat([seen[:, 0], gaps, seen[:, 1]], dim=1))


class Phi3VModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.vision_embed_tokens = ImageEmbedding(config.hidden_size, config.patch_size)
        self.layers = nn.ModuleList(Layer(config.hidden_size) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size)


class Phi3VForCausalLM(PreTrainedModel, GenerationMixin):
    config_class = Phi3VConfig

    def __init__(self, config):
        super().__init__(config)
        self.model = Phi3VModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.model.embed_tokens

    def prepare_inputs_for_generation(
        self, input_ids, pixel_values=None, attention_mask=None, image_sizes=None, **kwargs
    ):
        return {"input_ids": input_ids, "pixel_values": pixel_values}  # nothing is cached

    def forward(self, input_ids=None, pixel_values=None, inputs_embeds=None, **kwargs):
        x = inputs_embeds
        if x is None:
            x = self.model.embed_tokens(input_ids.clamp(min=0))
            if pixel_values is not None:
                seen = self.model.vision_embed_tokens(pixel_values)
                x = x.masked_scatter((input_ids < 0)[..., None], seen.to(x.dtype))
        for layer in self.model.layers:
            x = layer(x)
        return CausalLMOutput(logits=self.lm_head(self.model.norm(x)))
