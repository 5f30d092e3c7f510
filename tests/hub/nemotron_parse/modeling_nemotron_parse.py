"""A small encoder-decoder that comes with its own code; its modules have the names of Nemotron Parse's."""

from torch import nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput
from transformers.models.mbart.modeling_mbart import MBartDecoder, shift_tokens_right

from .configuration_nemotron_parse import NemotronParseConfig


class Encoder(nn.Module):
    main_input_name = "pixel_values"

    def __init__(self, config):
        super().__init__()
        width, patch = config.decoder.d_model, config.patch_size
        self.model_encoder = nn.Conv2d(3, width, kernel_size=patch, stride=patch)
        self.conv1 = nn.Conv1d(width, width, 1)
        self.layer_norm1 = nn.LayerNorm(width)

    def forward(self, pixel_values, **kwargs):
        pixels = pixel_values.to(self.model_encoder.weight.dtype)
        seen = self.model_encoder(pixels).flatten(2)  # (rows, width, patches)
        states = self.layer_norm1(self.conv1(seen).transpose(1, 2))
        return BaseModelOutput(last_hidden_state=states)


class NemotronParseForConditionalGeneration(PreTrainedModel, GenerationMixin):
    config_class = NemotronParseConfig
    base_model_prefix = "nemotron_parse"
    main_input_name = "pixel_values"
    _supports_sdpa = True

    def __init__(self, config):
        super().__init__(config)
        self.encoder = Encoder(config)
        self.decoder = MBartDecoder(config.decoder)
        self.lm_head = nn.Linear(config.decoder.d_model, config.decoder.vocab_size, bias=False)
        self.post_init()

    def get_encoder(self, modality=None):
        return self.encoder

    def get_input_embeddings(self):
        return self.decoder.get_input_embeddings()

    def get_output_embeddings(self):
        return self.lm_head

    def forward(
        self,
        pixel_values=None,
        decoder_input_ids=None,
        decoder_attention_mask=None,
        encoder_outputs=None,
        past_key_values=None,
        labels=None,
        use_cache=None,
        **kwargs,
    ):
        if encoder_outputs is None:
            encoder_outputs = self.encoder(pixel_values)
        if labels is not None and decoder_input_ids is None:
            config = self.config
            decoder_input_ids = shift_tokens_right(labels, config.decoder.pad_token_id)
        decoded = self.decoder(
            input_ids=decoder_input_ids,
            attention_mask=decoder_attention_mask,
            encoder_hidden_states=encoder_outputs[0],
            past_key_values=past_key_values,
            use_cache=use_cache,
        )
        logits = self.lm_head(decoded.last_hidden_state)
        loss = None
        if labels is not None:
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
        return Seq2SeqLMOutput(loss=loss, logits=logits, past_key_values=decoded.past_key_values)
