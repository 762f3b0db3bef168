"""Encoders that were trained on pathology: UNI, CONCH, Virchow2 and the like.

Architecture, input and normalisation are as TRIDENT builds these models through timm, or as the
authors' own repositories do where an entry says so. The cards themselves were not at hand: licences
and access are noted as far as known, and the card decides. Nothing is downloaded to look at this
table.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from axilla.features.spec import IMAGENET_MEAN, IMAGENET_STD, EncoderSpec, Published
from axilla.features.timm_models import build_timm

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_NON_COMMERCIAL = "CC BY-NC-ND 4.0: academic research only"


class ClassAndMean(nn.Module):
    """f(x) = [t_0, mean over the patches' tokens]: [n, 2 C].

    The first `prefix` tokens are the class token and the registers; registers are left out.
    Source: how TRIDENT pools Virchow2.
    """

    def __init__(self, network: nn.Module, *, prefix: int) -> None:
        super().__init__()
        self.network = network
        self.prefix = prefix

    def forward(self, x: Tensor) -> Tensor:
        """[n, 3, h, w] -> [n, 2 C]."""
        tokens: Tensor = cast("Any", self.network).forward_features(x)  # [n, T, C]
        return torch.cat([tokens[:, 0], tokens[:, self.prefix :].mean(dim=1)], dim=1)


class QueryPool(nn.Module):
    """Learned queries attend to the tokens of a transformer (CoCa, doi:10.48550/arXiv.2205.01917).

    Its parameters have the names of CONCH's published weights.
    """

    def __init__(self, *, width: int, context: int, heads: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(1, width))
        self.attn = nn.MultiheadAttention(
            width, heads, kdim=context, vdim=context, batch_first=True
        )
        self.ln_q = nn.LayerNorm(width)
        self.ln_k = nn.LayerNorm(context)

    def forward(self, tokens: Tensor) -> Tensor:
        """[n, T, context] -> [n, width]."""
        keys = self.ln_k(tokens)
        query = self.ln_q(self.query).expand(len(tokens), -1, -1)  # [n, 1, width]
        pooled: Tensor = self.attn(query, keys, keys, need_weights=False)[0]
        return pooled[:, 0]


class ConchImage(nn.Module):
    """CONCH's image tower without the projection to the text's space: [n, 3, h, w] -> [n, 512].

    f(x) = LN(pool(trunk(x))), not normalised to length one. Source: CONCH's repository,
    `encode_image(proj_contrast=False, normalize=False)`, what its authors use for slides.
    """

    def __init__(self, *, width: int = 512, heads: int = 8, **trunk: Any) -> None:
        super().__init__()
        self.trunk = build_timm("conch", "vit_base_patch16_224", dynamic_img_size=True, **trunk)
        context = int(cast("Any", self.trunk).num_features)
        self.attn_pool_contrast = QueryPool(width=width, context=context, heads=heads)
        self.ln_contrast = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """[n, 3, h, w] -> [n, 512]."""
        tokens: Tensor = cast("Any", self.trunk).forward_features(x)  # [n, T, C]
        normed: Tensor = self.ln_contrast(self.attn_pool_contrast(tokens))
        return normed


def conch_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The image tower's part of CONCH's file, which holds text tower and caption decoder too."""
    bare = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    used = ("visual.trunk.", "visual.attn_pool_contrast.", "visual.ln_contrast.")
    return {n.removeprefix("visual."): t for n, t in bare.items() if n.startswith(used)}


_DINOV2_NAMES = (
    (r"embeddings\.cls_token", "cls_token"),
    (r"embeddings\.position_embeddings", "pos_embed"),
    (r"embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"encoder\.layer\.", "blocks."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.layer_scale([12])\.lambda1", r".ls\1.gamma"),
    (r"^layernorm\.", "norm."),
)
"""From the names of transformers' Dinov2Model to those of timm's VisionTransformer."""
_DINOV2_QUERY = r"encoder\.layer\.(\d+)\.attention\.attention\.query"


def dinov2_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a Dinov2Model of the library transformers, under the names of timm.

    Query, key and value are one matrix in timm; the mask token serves training only.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name == "embeddings.mask_token" or ".attention.attention." in name:
            continue
        for pattern, ours in _DINOV2_NAMES:
            name = re.sub(pattern, ours, name)  # noqa: PLW2901 - each rule goes on from the last
        found[name] = tensor
    for name in state:
        if name.endswith((".attention.attention.query.weight", ".attention.attention.query.bias")):
            three = [state[name.replace("query", part)] for part in ("query", "key", "value")]
            ours = re.sub(_DINOV2_QUERY, r"blocks.\1.attn.qkv", name)
            found[ours] = torch.cat(three)
    return found


def _timm(name: str, architecture: str, **arguments: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        packed = arguments.get("mlp_layer") == "SwiGLUPacked"
        real = dict(arguments)
        if packed:
            from timm.layers import SwiGLUPacked

            real |= {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU}
        return build_timm(name, architecture, dynamic_img_size=True, **real)

    return build


def _as_it_is(network: nn.Module) -> nn.Module:
    return network


# `global_pool` "token" is the class token
# after the last norm.
PATHOLOGY_SPECS: Mapping[str, EncoderSpec] = {
    spec.name: spec
    for spec in (
        # MahmoodLab/UNI: ViT-L/16, class token, ImageNet's mean and SD, bilinear.
        EncoderSpec(
            "uni", 224, 1024, IMAGENET_MEAN, IMAGENET_STD,
            _timm("uni", "vit_large_patch16_224", img_size=224, init_values=1e-5),
            _as_it_is, (), library="timm", words=("published",), step_px=16,
            published=Published(
                "MahmoodLab/UNI", "pytorch_model.bin", _NON_COMMERCIAL, gated=True,
                spellings=("MahmoodLab/uni",),
            ),
        ),
        # MahmoodLab/UNI2-h: ViT-H/14 with 8 registers and SwiGLU, class token.
        EncoderSpec(
            "uni2-h", 224, 1536, IMAGENET_MEAN, IMAGENET_STD,
            _timm(
                "uni2-h", "vit_giant_patch14_224", img_size=224, patch_size=14, depth=24,
                num_heads=24, init_values=1e-5, embed_dim=1536, mlp_ratio=2.66667 * 2,
                no_embed_class=True, mlp_layer="SwiGLUPacked", reg_tokens=8,
            ),
            _as_it_is, (), library="timm", words=("published",), step_px=14,
            published=Published(
                "MahmoodLab/UNI2-h", "pytorch_model.bin", _NON_COMMERCIAL, gated=True
            ),
        ),
        # Repository mahmoodlab/CONCH: ViT-B/16 at 448 px, attention pooling, CLIP's normalisation.
        EncoderSpec(
            "conch", 448, 512, CLIP_MEAN, CLIP_STD,
            functools.partial(ConchImage, img_size=448), _as_it_is, (),
            library="timm", words=("published",), rename=conch_names, interpolation="bicubic",
            step_px=16,
            published=Published(
                "MahmoodLab/CONCH", "pytorch_model.bin", _NON_COMMERCIAL, gated=True,
                spellings=("MahmoodLab/conch",),
            ),
        ),
        # paige-ai/Virchow2: ViT-H/14, 4 registers, SwiGLU; class token and mean of patches.
        EncoderSpec(
            "virchow2", 224, 2560, IMAGENET_MEAN, IMAGENET_STD,
            _timm(
                "virchow2", "vit_huge_patch14_224", img_size=224, init_values=1e-5,
                mlp_ratio=5.3375, global_pool="", mlp_layer="SwiGLUPacked", reg_tokens=4,
            ),
            functools.partial(ClassAndMean, prefix=5), (), library="timm", words=("published",),
            interpolation="bicubic", step_px=14,
            published=Published(
                "paige-ai/Virchow2", "pytorch_model.bin", _NON_COMMERCIAL, gated=True
            ),
        ),
        # bioptimus/H-optimus-0: ViT-g/14, 4 registers, class token, its own normalisation.
        # How to resize is not said there, as it expects 224 px: bilinear, torchvision's default.
        EncoderSpec(
            "h-optimus-0", 224, 1536, (0.707223, 0.578729, 0.703617),
            (0.211883, 0.230117, 0.177517),
            _timm(
                "h-optimus-0", "vit_giant_patch14_reg4_dinov2", img_size=224, init_values=1e-5,
                global_pool="token",
            ),
            _as_it_is, (), library="timm", words=("published",), step_px=14,
            published=Published(
                "bioptimus/H-optimus-0", "pytorch_model.bin", "Apache 2.0", gated=True
            ),
        ),
        # owkin/phikon-v2: ViT-L/16 of DINOv2 without registers, class token. Its weights
        # have the names of transformers' Dinov2Model; they are renamed for timm's same network.
        # Its image processor's interpolation was not looked up: bilinear, as TRIDENT has it.
        EncoderSpec(
            "phikon-v2", 224, 1024, IMAGENET_MEAN, IMAGENET_STD,
            _timm("phikon-v2", "vit_large_patch14_dinov2", img_size=224, patch_size=16),
            _as_it_is, (), library="timm", words=("published",), rename=dinov2_names, step_px=16,
            published=Published(
                "owkin/phikon-v2", "model.safetensors", "Owkin's licence: non-commercial"
            ),
        ),
        # prov-gigapath/prov-gigapath (tile encoder): ViT-g/16, SwiGLU, class token; resized
        # to 256 bicubic, the inner 224 taken.
        EncoderSpec(
            "prov-gigapath", 224, 1536, IMAGENET_MEAN, IMAGENET_STD,
            _timm(
                "prov-gigapath", "vit_giant_patch14_dinov2", img_size=224, patch_size=16,
                embed_dim=1536, depth=40, num_heads=24, mlp_ratio=5.33334, init_values=1e-5,
                global_pool="token",
            ),
            _as_it_is, (), library="timm", words=("published",), interpolation="bicubic",
            resize_px=256, step_px=16,
            published=Published(
                "prov-gigapath/prov-gigapath", "pytorch_model.bin", "Apache 2.0: research use",
                gated=True,
            ),
        ),
    )
}  # fmt: skip
