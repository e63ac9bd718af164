"""
Which language models, encoders, decoders and towers: families of transformers that read texts, sound or pictures, one small model each.

A row is a class of transformers, after a dot the part of it that is measured (`T5Model.decoder`), and what makes it small. Sliding
windows are shorter than the texts.
"""

from typing import Any

_SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 99}
_TEXT = {**_SMALL, "max_position_embeddings": 64}
_GROUPED = {**_TEXT, "num_key_value_heads": 2}
_HEADS = {**_GROUPED, "head_dim": 8}
_WINDOW = {"sliding_window": 4}
_MIXED = {**_WINDOW, "layer_types": ["sliding_attention", "full_attention"]}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
_GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "vocab_size": 99}
_PADDED = {"pad_token_id": 0}
_TOWER = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "image_size": 64, "patch_size": 16}
_T5 = {"d_model": 32, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4, "d_kv": 8, "d_ff": 64, "vocab_size": 99}
_BART = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
_BART |= {"encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "vocab_size": 99, "max_position_embeddings": 64}
_SPEECH = {
    **_BART,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
    "num_mel_bins": 16,
    "max_source_positions": 20,
    "max_target_positions": 64,
}

FAMILIES: dict[str, dict[str, dict[str, Any]]] = {
    "albert": {"AlbertModel": {**_TEXT, "embedding_size": 16}},
    "arcee": {"ArceeForCausalLM": _GROUPED},
    "bart": {"BartModel.encoder": _BART, "BartModel.decoder": _BART},
    "bert": {"BertModel": _TEXT},
    "biogpt": {"BioGptForCausalLM": _TEXT},
    "bloom": {"BloomForCausalLM": {"hidden_size": 32, "n_layer": 2, "n_head": 4, "vocab_size": 99}},
    "camembert": {"CamembertModel": _TEXT},
    "clip": {"CLIPTextModel": _TEXT, "CLIPVisionModel": _TOWER},
    "codegen": {"CodeGenForCausalLM": {**_GPT, "rotary_dim": 4}},
    "cohere": {"CohereForCausalLM": _GROUPED},
    "cohere2": {"Cohere2ForCausalLM": {**_GROUPED, **_MIXED}},
    "ctrl": {"CTRLLMHeadModel": {**_GPT, "dff": 64}},
    "data2vec-text": {"Data2VecTextModel": _TEXT},
    "deberta": {"DebertaModel": {**_TEXT, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]}},
    "deberta-v2": {"DebertaV2Model": {**_TEXT, "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 8}},
    "diffllama": {"DiffLlamaForCausalLM": _GROUPED},
    "distilbert": {
        "DistilBertModel": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "vocab_size": 99, "max_position_embeddings": 64}
    },
    "electra": {"ElectraModel": {**_TEXT, "embedding_size": 16}},
    "ernie": {"ErnieModel": _TEXT},
    "ernie4_5": {"Ernie4_5ForCausalLM": _HEADS},
    "esm": {"EsmModel": {**_TEXT, **_PADDED, "mask_token_id": 1, "position_embedding_type": "rotary"}},
    "exaone4": {"Exaone4ForCausalLM": {**_GROUPED, **_MIXED}},
    "falcon": {"FalconForCausalLM": _TEXT},
    "gemma": {"GemmaForCausalLM": _HEADS},
    "gemma2": {"Gemma2ForCausalLM": {**_HEADS, **_MIXED}},
    "gemma3": {"Gemma3ForCausalLM": {**_HEADS, **_MIXED}},
    "glm": {"GlmForCausalLM": {**_HEADS, **_PADDED}},
    "glm4": {"Glm4ForCausalLM": {**_HEADS, **_PADDED}},
    "gpt2": {"GPT2LMHeadModel": _GPT},
    "gpt_bigcode": {"GPTBigCodeForCausalLM": _GPT},
    "gpt_neo": {
        "GPTNeoForCausalLM": {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]]}
        | {"window_size": 4, "vocab_size": 99, "max_position_embeddings": 64}
    },
    "gpt_neox": {"GPTNeoXForCausalLM": _TEXT},
    "gptj": {"GPTJForCausalLM": {**_GPT, "rotary_dim": 4}},
    "granite": {"GraniteForCausalLM": _GROUPED},
    "granitemoe": {"GraniteMoeForCausalLM": {**_GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2}},
    "helium": {"HeliumForCausalLM": _HEADS},
    "llama": {"LlamaForCausalLM": _GROUPED},
    "ministral": {"MinistralForCausalLM": {**_HEADS, **_MIXED}},
    "mistral": {"MistralForCausalLM": {**_GROUPED, **_WINDOW}},
    "mixtral": {"MixtralForCausalLM": {**_GROUPED, **_WINDOW, "num_local_experts": 4, "num_experts_per_tok": 2}},
    "mobilebert": {"MobileBertModel": {**_TEXT, "embedding_size": 16, "intra_bottleneck_size": 32, "num_feedforward_networks": 2}},
    "modernbert": {"ModernBertModel": {**_TEXT, **_PADDED, "local_attention": 8, "global_attn_every_n_layers": 2}},
    "mpnet": {"MPNetModel": _TEXT},
    "mpt": {"MptForCausalLM": {"d_model": 32, "n_layers": 2, "n_heads": 4, "vocab_size": 99, "max_seq_len": 64, "expansion_ratio": 2}},
    "nanochat": {"NanoChatForCausalLM": _GROUPED},
    "nemotron": {"NemotronForCausalLM": _GROUPED},
    "olmo": {"OlmoForCausalLM": _GROUPED},
    "olmo2": {"Olmo2ForCausalLM": _GROUPED},
    "olmo3": {"Olmo3ForCausalLM": {**_GROUPED, **_MIXED}},
    "olmoe": {"OlmoeForCausalLM": {**_GROUPED, "num_experts": 4, "num_experts_per_tok": 2}},
    "opt": {
        "OPTForCausalLM": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 64, "vocab_size": 99}
        | {"max_position_embeddings": 64, "word_embed_proj_dim": 32}
    },
    "pegasus": {"PegasusModel.encoder": _BART, "PegasusModel.decoder": _BART},
    "persimmon": {"PersimmonForCausalLM": _TEXT},
    "phi": {"PhiForCausalLM": _GROUPED},
    "phi3": {"Phi3ForCausalLM": {**_GROUPED, **_PADDED, **_WINDOW}},
    "qwen2": {"Qwen2ForCausalLM": {**_GROUPED, **_MIXED, "use_sliding_window": True}},
    "qwen2_moe": {"Qwen2MoeForCausalLM": {**_GROUPED, **_EXPERTS, "shared_expert_intermediate_size": 32}},
    "qwen3": {"Qwen3ForCausalLM": _HEADS},
    "qwen3_moe": {"Qwen3MoeForCausalLM": {**_HEADS, **_EXPERTS}},
    "rembert": {"RemBertModel": {**_TEXT, "input_embedding_size": 16}},
    "roberta": {"RobertaModel": _TEXT},
    "siglip": {"SiglipTextModel": _TEXT, "SiglipVisionModel": _TOWER},
    "smollm3": {"SmolLM3ForCausalLM": {**_GROUPED, **_PADDED}},
    "squeezebert": {"SqueezeBertModel": {**_TEXT, "embedding_size": 32}},
    "stablelm": {"StableLmForCausalLM": _GROUPED},
    "starcoder2": {"Starcoder2ForCausalLM": {**_GROUPED, **_WINDOW}},
    "t5": {"T5EncoderModel": _T5, "T5Model.decoder": _T5},
    "umt5": {"UMT5EncoderModel": _T5, "UMT5Model.decoder": _T5},
    "whisper": {"WhisperModel.encoder": _SPEECH, "WhisperModel.decoder": _SPEECH},
    "xglm": {"XGLMForCausalLM": {"d_model": 32, "num_layers": 2, "attention_heads": 4, "ffn_dim": 64, "vocab_size": 99}},
    "xlm-roberta": {"XLMRobertaModel": _TEXT},
}
"""Rows by family; one that needs no class of its own is written as its configuration."""

VISION = ("beit", "clip", "convnext", "deit", "dinov2", "siglip", "swin", "vit")
"""Families of transformers (and ConvNeXt, which issue 3 counts among them) that stand among the image classifiers."""
