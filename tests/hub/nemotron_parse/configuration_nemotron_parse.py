"""Configuration of a small encoder-decoder that comes with its own code."""

from transformers import MBartConfig, PretrainedConfig


class NemotronParseConfig(PretrainedConfig):
    model_type = "nemotron_parse"
    sub_configs = {"decoder": MBartConfig}  # noqa: RUF012 - as transformers wants it

    def __init__(self, decoder=None, image_size=32, patch_size=8, decoder_start_token_id=2, **kwargs):
        self.decoder = decoder if isinstance(decoder, MBartConfig) else MBartConfig(**(decoder or {}))
        self.image_size = image_size
        self.patch_size = patch_size
        self.decoder_start_token_id = decoder_start_token_id
        super().__init__(**{**kwargs, "is_encoder_decoder": True})

    def get_text_config(self, decoder=None, encoder=None):
        return self.decoder
