"""
Which architectures: every image classifier of transformers, one or two of the smallest of each family of torchvision and timm, and
readers of texts (`readers`).

A row says what is built: the library and name, the side of the picture, and what makes it small (fields of the
configuration, or arguments of the builder).
"""

from dataclasses import dataclass, field
from typing import Any

from covered.readers import FAMILIES, VISION

_VIT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "image_size": 64}
_TEXT = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 99}
_TOWERS = {"vision_config": {**_VIT, "patch_size": 16}, "text_config": _TEXT}
_SWIN = {"image_size": 64, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4}
_ONES = {"depths": [1, 1, 1, 1]}
_PYRAMID = {"hidden_sizes": [16, 32, 32, 32], "num_attention_heads": [1, 2, 2, 2], **_ONES}
_STAGES = {"embedding_size": 16, "hidden_sizes": [16, 32, 32, 32], **_ONES}
_NAVIT = {key: value for key, value in _VIT.items() if key != "image_size"}
_GEMMA = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
_GEMMA |= {"intermediate_size": 64, "vocab_size": 99}

TRANSFORMERS: dict[str, dict[str, Any]] = {
    "beit": _VIT,
    "bit": {**_STAGES, "num_groups": 8},
    "clip": _TOWERS,
    "convnext": {"hidden_sizes": [8, 16, 16, 32], **_ONES},
    "convnextv2": {"hidden_sizes": [8, 16, 16, 32], **_ONES},
    "cvt": {"embed_dim": [16, 32, 32], "num_heads": [1, 2, 2], "depth": [1, 2, 3]},
    "data2vec-vision": _VIT,
    "deit": _VIT,
    "dinat": {"embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2]},
    "dinov2": {**_VIT, "patch_size": 16},
    "dinov2_with_registers": {**_VIT, "patch_size": 16},
    "donut-swin": _SWIN,
    "efficientnet": {"width_coefficient": 0.25, "depth_coefficient": 0.25, "image_size": 64, "hidden_dim": 320},
    "focalnet": {"image_size": 64, "embed_dim": 16, "hidden_sizes": [16, 32, 32, 32], **_ONES},
    "hgnet_v2": {
        "embedding_size": 16,
        "stem_channels": [3, 8, 16],
        "stage_in_channels": [16, 32, 64, 64],
        "stage_mid_channels": [8, 8, 16, 16],
    }
    | {
        "stage_out_channels": [32, 64, 64, 128],
        "stage_num_blocks": [1, 1, 1, 1],
        "stage_numb_of_layers": [2, 2, 2, 2],
        "hidden_sizes": [32, 64, 64, 128],
    },
    "hiera": {"image_size": [64, 64], "embed_dim": 16, **_ONES},
    "ijepa": _VIT,
    "imagegpt": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "vocab_size": 32},
    "levit": {
        "image_size": 64,
        "hidden_sizes": [32, 64, 64],
        "num_attention_heads": [2, 2, 2],
        "depths": [1, 1, 1],
        "key_dim": [16, 16, 16],
    },
    "metaclip_2": _TOWERS,
    "mobilenet_v1": {"image_size": 64, "depth_multiplier": 0.25},
    "mobilenet_v2": {"image_size": 64, "depth_multiplier": 0.25},
    "mobilevit": {"image_size": 64, "hidden_sizes": [32, 48, 64], "neck_hidden_sizes": [16, 16, 16, 32, 32, 32, 64]},
    "mobilevitv2": {"image_size": 64, "width_multiplier": 0.5},
    "perceiver": {
        "d_latents": 64,
        "num_cross_attention_heads": 1,
        "num_latents": 16,
        "image_size": 64,
        "num_blocks": 1,
        "num_self_attends_per_block": 2,
    },
    "poolformer": {"hidden_sizes": [16, 16, 32, 32], **_ONES},
    "pp_lcnet": {"scale": 0.25},
    "pvt": {"image_size": 64, **_PYRAMID},
    "pvt_v2": {"image_size": [64, 64], **_PYRAMID},
    "regnet": {**_STAGES, "groups_width": 8},
    "resnet": _STAGES,
    "segformer": _PYRAMID,
    "shieldgemma2": {"vision_config": {**_VIT, "patch_size": 16}, "text_config": _GEMMA, "mm_tokens_per_image": 4}
    | {"image_token_index": 98, "boi_token_index": 97, "eoi_token_index": 96, "yes_token_index": 1, "no_token_index": 2},
    "siglip": _TOWERS,
    "siglip2": {"vision_config": {**_NAVIT, "num_patches": 16}, "text_config": _TEXT},
    "swiftformer": {"image_size": 64, "embed_dims": [16, 32, 32, 32], **_ONES},
    "swin": _SWIN,
    "swinv2": {**_SWIN, "depths": [2, 2]},
    "textnet": {"image_size": [64, 64]},
    "timm_wrapper": {"architecture": "resnet10t"},
    "vit": _VIT,
    "vit_msn": _VIT,
}

TORCHVISION = """
    alexnet@64 vgg11@32 vgg11_bn@32 resnet18@48 resnet50@48 resnext50_32x4d@48 wide_resnet50_2@32 densenet121@48 googlenet@64
    inception_v3@96 mobilenet_v2@64 mobilenet_v3_small@64 mnasnet0_5@64 shufflenet_v2_x0_5@64 squeezenet1_0@64 squeezenet1_1@64
    regnet_x_400mf@64 regnet_y_400mf@64 efficientnet_b0@64 efficientnet_v2_s@64 convnext_tiny@48 vit_b_16@224 swin_t@64
    swin_v2_t@64 maxvit_t@224
"""

TIMM = """
    resnet10t@64 resnet18d@64 seresnet18@64 legacy_seresnet18@64 ecaresnet26t@64 skresnet18@64 resnest14d@64 resnetv2_18@64
    resnetblur18@64 res2net50_14w_8s@48 vgg11_bn@32 densenet121@48 densenetblur121d@48 dla34@64 dla46_c@64 dpn48b@48 hrnet_w18_small@64
    regnetx_002@64 regnety_002@64 regnetz_005@64 repvgg_a0@48 mobileone_s0@48 gernet_s@64 eca_resnext26ts@64 gcresnext26ts@64
    bat_resnext26ts@256 lambda_resnet26t@64 botnet26t_256@128 halonet26t@256
    cspresnet50@64 cspdarknet53@64 cs3darknet_s@64 darknet17@64 vovnet39a@64 ese_vovnet19b_slim_dw@64 selecsls42@64 tresnet_m@64
    xception41@64 legacy_xception@64 inception_v3@96 inception_v4@96 inception_resnet_v2@96 nasnetalarge@64
    efficientnet_b0@64 tf_efficientnet_lite0@64 efficientnet_es@64 mnasnet_small@64 mobilenetv2_035@64 mobilenetv3_small_050@64
    tf_mobilenetv3_small_minimal_100@64 mobilenetv4_conv_small_035@64 lcnet_035@64 lcnetv2_small@64 tinynet_e@64 fbnetc_100@64
    hardcorenas_a@64 mixnet_s@64 rexnet_100@64 rexnetr_100@64 ghostnet_050@64 ghostnetv2_100@64 repghostnet_050@64 starnet_s050@64
    hgnetv2_b0@64 fasternet_t0@64 repvit_m0_9@64 nfnet_l0@64 nf_regnet_b0@64 nf_resnet26@64 convmixer_768_32@56 convnext_atto@64
    convnextv2_atto@64 inception_next_atto@64 edgenext_xx_small@64 rdnet_tiny@64 mambaout_femto@64 poolformer_s12@64 efficientvit_b0@64
    efficientvit_m0@64 fastvit_t8@64 efficientformer_l1@224 efficientformerv2_s0@224 shvit_s1@64 swiftformer_xs@64 mobilevit_xxs@64
    mobilevitv2_050@64 levit_128s@224 vit_tiny_patch16_224@32 deit_tiny_patch16_224@32 mixer_s32_224@64 resmlp_12_224@32
    gmlp_ti16_224@32 swin_tiny_patch4_window7_224@56 pit_ti_224@64 cait_xxs24_224@32 xcit_nano_12_p16_224@32 visformer_tiny@64
    tiny_vit_5m_224@64 sequencer2d_s@64 coat_lite_tiny@64 coat_tiny@64 crossvit_tiny_240@240 twins_svt_small@64 twins_pcpvt_small@64
    volo_d1_224@64 tnt_s_patch16_224@32 nest_tiny@64 mvitv2_tiny@64 gcvit_xxtiny@64 davit_tiny@64 maxvit_pico_rw_256@64 caformer_s18@64
    convit_tiny@32 legacy_senet154@64 pnasnet5large@96 nextvit_small@64
"""

SMALLER: dict[str, dict[str, Any]] = {
    "timm:vit_tiny_patch16_224": {"img_size": 32, "depth": 2},
    "timm:deit_tiny_patch16_224": {"img_size": 32, "depth": 2},
    "timm:mixer_s32_224": {"img_size": 64},
    "timm:resmlp_12_224": {"img_size": 32},
    "timm:gmlp_ti16_224": {"img_size": 32},
    "timm:swin_tiny_patch4_window7_224": {"img_size": 56, "depths": (1, 1, 1, 1)},
    "timm:pit_ti_224": {"img_size": 64},
    "timm:cait_xxs24_224": {"img_size": 32, "depth": 2},
    "timm:xcit_nano_12_p16_224": {"img_size": 32, "depth": 2},
    "timm:visformer_tiny": {"img_size": 64},
    "timm:coat_lite_tiny": {"img_size": 64},
    "timm:coat_tiny": {"img_size": 64},
    "timm:twins_svt_small": {"img_size": 64},
    "timm:twins_pcpvt_small": {"img_size": 64},
    "timm:volo_d1_224": {"img_size": 64},
    "timm:tnt_s_patch16_224": {"img_size": 32, "depth": 2},
    "timm:nest_tiny": {"img_size": 64},
    "timm:mvitv2_tiny": {"img_size": 64},
    "timm:gcvit_xxtiny": {"img_size": 64},
    "timm:maxvit_pico_rw_256": {"img_size": 64},
    "timm:convit_tiny": {"img_size": 32},
    "timm:nasnetalarge": {"stem_size": 16, "num_features": 192},
    "timm:botnet26t_256": {"img_size": 128},
}


PICTURES, READERS = "Image classifiers", "Language models and other transformers"


@dataclass(frozen=True)
class Architecture:
    """One row of the table: `library` and `name` say what is built, `size` the side of its pictures, `options` what makes it small;
    `family` is the kind of transformer it is, where it is one that is counted, and `group` the part of the table it stands in."""

    library: str
    name: str
    size: int = 64
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    family: str = ""
    group: str = PICTURES

    @property
    def address(self) -> str:
        """What the row is called: `torchvision:resnet18`."""
        return f"{self.library}:{self.name}"


def architectures() -> list[Architecture]:
    """All rows: those of transformers as the library that is installed lists them, torchvision's and timm's, then the readers."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as MAPPING

    rows: list[Architecture] = []
    for key in sorted(MAPPING):
        classes = MAPPING[key] if isinstance(MAPPING[key], tuple) else (MAPPING[key],)
        family = key if key in VISION else ""
        rows += [Architecture("transformers", _spelled(key, name), 64, TRANSFORMERS.get(key, {}), family) for name in classes]
    for library, listed in (("torchvision", TORCHVISION), ("timm", TIMM)):
        for name, size in (entry.split("@") for entry in listed.split()):
            rows.append(Architecture(library, name, int(size), SMALLER.get(f"{library}:{name}", {})))
    for family, models in FAMILIES.items():
        rows += [Architecture("transformers", name, 64, options, family, READERS) for name, options in models.items()]
    return rows


def _spelled(key: str, name: str) -> str:
    """A model type; where it has several image classifiers, what sets this one apart comes after a dot."""
    apart = name.partition("ForImageClassification")[2]
    return f"{key}.{apart}" if apart else key
