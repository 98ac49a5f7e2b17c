"""Encoders of random weights as hubs publish them: weights, tokenizer and preprocessing in a folder."""

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    BitImageProcessorPil,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    DonutImageProcessorPil,
    PixtralImageProcessorPil,
    PixtralVisionConfig,
    PixtralVisionModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    Siglip2ImageProcessorPil,
    Siglip2VisionConfig,
    Siglip2VisionModel,
    SiglipImageProcessorPil,
    ViTConfig,
    ViTImageProcessorPil,
    ViTModel,
)

WORDS = ["the", "dog", "bark", "##ing", "cat"]
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def save_roberta(folder: Path) -> None:
    """A RoBERTa of up to twelve words."""
    size = save_bytes(folder, "<s>", "</s>", "<pad>")
    config = RobertaConfig(vocab_size=size, max_position_embeddings=14, pad_token_id=0, **SIZES)
    RobertaModel(config).save_pretrained(folder)


def save_clip(folder: Path) -> None:
    """A CLIP of 4 x 4 patches and ten words."""
    size = save_bytes(folder, "<|startoftext|>", "<|endoftext|>", "<pad>", suffix="</w>")
    vision = {**SIZES, "image_size": 32, "patch_size": 8}
    text = {**SIZES, "vocab_size": size, "max_position_embeddings": 10, "eos_token_id": 2, "bos_token_id": 1}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
    side = {"height": 32, "width": 32}
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=side).save_pretrained(folder)


def save_wordpiece(folder):
    vocabulary = {t: i for i, t in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
    ).save_pretrained(folder)  # fmt: skip


def save_bytes(folder, first, last, pad, suffix=None):
    """A byte-level BPE with a few merges, as RoBERTa's, or with CLIP's end-of-word marks."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    end = [f"{letter}{suffix}" for letter in alphabet] if suffix else []
    merges = [("d", "o"), ("do", f"g{suffix}")] if suffix else [("d", "o"), ("do", "g"), ("Ġ", "dog")]
    tokens = list(
        dict.fromkeys([pad, first, last, "<unk>", *alphabet, *end, *("".join(pair) for pair in merges)])
    )
    tokenizer = Tokenizer(
        models.BPE(
            {t: i for i, t in enumerate(tokens)}, merges, unk_token="<unk>", end_of_word_suffix=suffix or ""
        )
    )
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not suffix)
    tokenizer.pre_tokenizer = (
        pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), level]) if suffix else level
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}",
        special_tokens=[(first, tokens.index(first)), (last, tokens.index(last))],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=pad, bos_token=first, eos_token=last, unk_token="<unk>"
    ).save_pretrained(folder)
    return len(tokens)


def save_clip_vision(folder: Path) -> None:
    """The picture tower of a CLIP of 4 x 4 patches."""
    CLIPVisionModel(CLIPVisionConfig(image_size=32, patch_size=8, **SIZES)).save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(
        folder
    )


def save_vit(folder: Path, processor) -> None:
    """A ViT of 4 x 4 patches at its own size, behind any image processor."""
    ViTModel(ViTConfig(image_size=32, patch_size=8, **SIZES)).save_pretrained(folder)
    processor.save_pretrained(folder)


def save_siglip2(folder: Path) -> None:
    """A SigLIP 2 that keeps proportions (NaFlex): at most 16 patches of 8 x 8 pixels."""
    config = Siglip2VisionConfig(num_patches=16, patch_size=8, **SIZES)
    Siglip2VisionModel(config).save_pretrained(folder)
    Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16).save_pretrained(folder)


def save_pixtral(folder: Path) -> None:
    """A Pixtral, which keeps proportions: patches of 8 x 8 pixels, the longer side at most 64."""
    PixtralVisionModel(PixtralVisionConfig(image_size=64, patch_size=8, **SIZES)).save_pretrained(folder)
    PixtralImageProcessorPil(size={"longest_edge": 64}, patch_size={"height": 8, "width": 8}).save_pretrained(
        folder
    )


SIDE = {"height": 32, "width": 32}
# Encoders of pictures, by how they read one; each saves itself to a folder.
IMAGE_ENCODERS = {
    "CLIP: scaled, then its middle": save_clip_vision,
    "SigLIP: squashed": lambda folder: save_vit(folder, SiglipImageProcessorPil(size=SIDE)),
    "BiT: the middle of it all": lambda folder: save_vit(
        folder, BitImageProcessorPil(size={"shortest_edge": 40}, crop_size=SIDE)
    ),
    "padded to a square": lambda folder: save_vit(folder, DonutImageProcessorPil(size=SIDE)),
    "padded beyond its picture": lambda folder: save_vit(
        folder, CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=SIDE)
    ),
    "any shape": lambda folder: save_vit(folder, ViTImageProcessorPil(size={"shortest_edge": 32})),
    "NaFlex: any shape, as patches": save_siglip2,
    "Pixtral: any shape, one at a time": save_pixtral,
}
