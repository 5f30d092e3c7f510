"""The processor that comes with that model: an image, and text as the tokenizer has it."""

from transformers import ProcessorMixin


class NemotronParseProcessor(ProcessorMixin):
    def __init__(self, image_processor=None, tokenizer=None, **kwargs):
        super().__init__(image_processor, tokenizer)

    def __call__(self, images=None, text=None, return_tensors=None, **kwargs):
        seen = self.image_processor(images, return_tensors=return_tensors) if images is not None else {}
        read = self.tokenizer(text, return_tensors=return_tensors, **kwargs) if text is not None else {}
        return {**seen, **read}
