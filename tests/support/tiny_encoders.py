"""Encoders of random weights as hubs publish them: weights, tokenizer and preprocessing in a folder."""

import json
from collections.abc import Callable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    BitImageProcessorPil,
    ByT5Tokenizer,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    DonutImageProcessorPil,
    GPT2Config,
    GPT2Model,
    LlamaConfig,
    LlamaModel,
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
    T5Config,
    T5EncoderModel,
    T5Model,
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


# ---- further families of tokenizers, each as its model's is built


def save_bert_tokenizer(folder):
    """WordPiece as BERT's: lower case, without accents, punctuation apart."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789,.!?#'-猫犬"
    tokens = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        *letters,
        *(f"##{c}" for c in letters),
        "dog",
        "##gs",
        "cafe",
    ]
    tokenizer = Tokenizer(models.WordPiece({t: i for i, t in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
    ).save_pretrained(folder)  # fmt: skip
    return len(tokens)


def save_gpt2_tokenizer(folder, trim=False):
    """Byte-level BPE as GPT-2's: no padding token, nothing added; or with RoBERTa's trimmed offsets."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("d", "o"), ("do", "g"), ("Ġ", "dog"), ("f", "Ã"), ("Ċ", "Ċ")]
    tokens = [*alphabet, *("".join(pair) for pair in merges), "<|end|>"]
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|end|>", model_input_names=["input_ids"]
    ).save_pretrained(folder)
    return len(tokens)


def save_clip_tokenizer(folder):
    """Byte-level BPE with marks at the ends of words, as CLIP's: composed, lower case, punctuation apart."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("d", "o"), ("do", "g</w>")]
    tokens = ["<|start|>", "<|end|>", "<unk>", *alphabet, *(f"{c}</w>" for c in alphabet), "do", "dog</w>"]
    tokenizer = Tokenizer(
        models.BPE({t: i for i, t in enumerate(tokens)}, merges, unk_token="<unk>", end_of_word_suffix="</w>")
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = Regex(r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+""")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(
        ("<|end|>", 1), ("<|start|>", 0), trim_offsets=False, add_prefix_space=False
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|start|>", eos_token="<|end|>", pad_token="<|end|>"
    ).save_pretrained(folder)
    return len(tokens)


def save_unigram_tokenizer(folder, bytes_too=False):
    """Unigram as T5's: NFKC, words by a mark in front, an end at the end."""
    pieces = ["▁", "▁dog", "s", ",", "▁ca", *"abcdefghijklmnopqrtuvwxyz", "é", "fi"]
    table = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0), *((p, -2.0 - len(p) / 10) for p in pieces)]
    if bytes_too:
        table += [(f"<0x{b:02X}>", -30.0) for b in range(256)]
    tokenizer = Tokenizer(models.Unigram(table, unk_id=2, byte_fallback=bytes_too))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    return len(table)


def save_llama_tokenizer(folder):
    """SentencePiece's BPE as Llama's: one word for all, letters that are unknown as bytes, padded left."""
    tokens = [
        "<unk>",
        "<s>",
        "</s>",
        *(f"<0x{b:02X}>" for b in range(256)),
        "▁",
        *"dogsca,",
        "do",
        "dog",
        "▁dog",
    ]
    merges = [("d", "o"), ("do", "g"), ("▁", "dog")]
    tokenizer = Tokenizer(
        models.BPE(
            {t: i for i, t in enumerate(tokens)}, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True
        )
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", padding_side="left"
    ).save_pretrained(folder)
    return len(tokens)


def save_byt5_tokenizer(folder):
    """Bytes, by a tokenizer in Python: no offsets."""
    ByT5Tokenizer().save_pretrained(folder)
    return 384


def save_phobert_tokenizer(folder):
    """BPE with marks on what goes on, by a tokenizer in Python."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    letters = "abcdefghijklmnopqrstuvwxyz,.#é"
    tokens = [*(f"{c}@@" for c in letters), *letters, "dog@@", "dog"]
    (folder / "vocab.txt").write_text("".join(f"{t} {9 - i // 20}\n" for i, t in enumerate(tokens)))
    (folder / "bpe.codes").write_text("d o 9\ndo g 8\ndo g</w> 7\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PhobertTokenizer"}))
    return len(tokens) + 5


TOKENIZERS: dict[str, Callable[[Path], int]] = {
    "bert": save_bert_tokenizer,
    "gpt2": save_gpt2_tokenizer,
    "roberta": lambda folder: save_gpt2_tokenizer(folder, trim=True),
    "clip": save_clip_tokenizer,
    "unigram": save_unigram_tokenizer,
    "unigram-bytes": lambda folder: save_unigram_tokenizer(folder, bytes_too=True),
    "llama": save_llama_tokenizer,
    "byt5": save_byt5_tokenizer,
    "phobert": save_phobert_tokenizer,
}
T5_SIZES = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}


def save_text_model(folder: Path, name: str) -> None:
    """A model of a family with its tokenizer, of 40 positions where it counts them."""
    size = TOKENIZERS[{"t5": "unigram", "t5-encoder": "unigram"}.get(name, name)](folder)
    if name == "bert":
        BertModel(BertConfig(vocab_size=size, max_position_embeddings=40, **SIZES)).save_pretrained(folder)
    elif name == "gpt2":
        GPT2Model(
            GPT2Config(vocab_size=size, n_positions=40, n_embd=16, n_layer=2, n_head=2)
        ).save_pretrained(folder)
    elif name == "llama":
        LlamaModel(
            LlamaConfig(vocab_size=size, max_position_embeddings=40, num_key_value_heads=2, **SIZES)
        ).save_pretrained(folder)
    elif name == "phobert":
        config = RobertaConfig(vocab_size=size, max_position_embeddings=42, pad_token_id=1, **SIZES)
        RobertaModel(config).save_pretrained(folder)
    elif name in ("t5", "t5-encoder", "byt5"):
        config = T5Config(vocab_size=size, decoder_start_token_id=0, **T5_SIZES)
        (T5EncoderModel if name == "t5-encoder" else T5Model)(config).save_pretrained(folder)
    else:
        raise KeyError(name)
