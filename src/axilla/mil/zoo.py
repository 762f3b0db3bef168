"""The extra `zoo`: aggregators of the library torchmil, behind one small adapter.

The layers are torchmil's. Around them stand the model's own projection of instances and, on the
bag vector that each of them makes, one linear classifier, so that all of them take clinical data
and any number of classes. Bags of one length go through side by side and none is ever padded:
torchmil's DSMIL and transformers let padding through, and its TransMIL lets a bag through to the
others of its batch.
"""

from __future__ import annotations

import importlib.util
import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from axilla.core.errors import ConfigError
from axilla.core.methods import ZOO_HEADS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from axilla.core.config import Aggregator


class Pooled(NamedTuple):
    """What an aggregator of the zoo makes of bags."""

    z: Tensor
    """Bag vectors [B, length]."""
    attention: Tensor
    """[B, N], sums to 1 over a bag's instances, 0 where a bag is shorter."""
    auxiliary: Tensor | None = None
    """[B, K]: what the model's own second loss would be if the bag's label were k."""
    top: Tensor | None = None
    """Logits [B, K] of a second stream; a prediction is the mean of both streams."""


class ZooPool(nn.Module):
    """From bags of projected instances to bag vectors; one subclass a model."""

    length: int
    """Of a bag vector."""

    def forward(self, bags: Sequence[Tensor]) -> Pooled:
        """Pool bags [n_b, width] of any lengths."""
        groups: dict[int, list[int]] = defaultdict(list)
        for place, bag in enumerate(bags):
            groups[len(bag)].append(place)
        parts = [self.pool(torch.stack([bags[i] for i in places])) for places in groups.values()]
        longest = max(map(len, bags))
        device = bags[0].device
        back = torch.tensor([i for places in groups.values() for i in places]).argsort().to(device)
        wide = [F.pad(p.attention, (0, longest - p.attention.shape[1])) for p in parts]
        auxiliary = [p.auxiliary for p in parts if p.auxiliary is not None]
        top = [p.top for p in parts if p.top is not None]
        return Pooled(
            z=torch.cat([p.z for p in parts])[back],
            attention=torch.cat(wide)[back],
            auxiliary=torch.cat(auxiliary)[back] if auxiliary else None,
            top=torch.cat(top)[back] if top else None,
        )

    def pool(self, h: Tensor) -> Pooled:
        """Pool bags of one length, [b, n, width]."""
        raise NotImplementedError


class TransMIL(ZooPool):
    """Self-attention by Nyström with a class token, whose vector is z.

    Its convolutions over the squared sequence see the order of the instances, which is that of the
    bag: no coordinates are read. Landmarks are half the width, as there, but never more than
    tokens: those that torchmil fills up with zeros would outweigh the few instances of a bag. Its
    pseudo-inverse is scaled by the largest entry of a batch, so each bag is a batch of its own, all
    of them at once by `vmap`. Source:
    doi:10.48550/arXiv.2106.00908.
    """

    def __init__(self, config: Aggregator, *, classes: int) -> None:  # noqa: ARG002 - as the others
        super().__init__()
        self.length = config.width
        self.landmarks = config.width // 2
        self.model = _torchmil(config).TransMIL(
            (config.width,), att_dim=config.width, n_heads=ZOO_HEADS
        )
        self.model.classifier = nn.Identity()
        for layer in self.model.layers:
            layer.norm2 = nn.Identity()  # belongs to the layer's MLP, which TransMIL leaves out

    def pool(self, h: Tensor) -> Pooled:
        """Pool bags of one length, [b, n, width]."""
        tokens = math.ceil(math.sqrt(h.shape[1])) ** 2 + 1
        for layer in self.model.layers:
            layer.att_module.n_landmarks = min(self.landmarks, tokens)
        z, row = torch.vmap(self._alone)(h)  # [b, width], [b, n]
        # The class token's row of the approximated attention: slightly negative entries occur.
        row = row.float().clamp_min(0) + 1e-12
        return Pooled(z=z, attention=row / row.sum(dim=1, keepdim=True))

    def _alone(self, bag: Tensor) -> tuple[Tensor, Tensor]:
        z, row = self.model(bag[None], return_att=True)  # [1, width], [1, n]
        return z[0], row[0]


class CLAM(ZooPool):
    """Gated attention, and a loss that tells its top instances from its bottom ones (CLAM-SB).

    The k instances of highest attention should be of the bag's class and the k of lowest should
    not, and the top ones of no other class; smooth SVM loss of margin 1, weighed 3 to 7 against
    the bag's (doi:10.1038/s41551-020-00682-w). k is 8, but at most half the bag, so that none is
    asked to be both; a single instance has no such loss. The loss is written here: that of
    torchmil 1.0.2 mixes instances up.
    """

    SAMPLES = 8
    WEIGHT = 0.3 / 0.7

    def __init__(self, config: Aggregator, *, classes: int) -> None:
        super().__init__()
        self.length = config.width
        self.model = _torchmil(config).CLAM_SB(
            (config.width,), att_dim=config.attention, gated=True
        )
        self.model.classifier = nn.Identity()
        self.model.inst_classifiers = nn.ModuleList(
            nn.Linear(config.width, 2) for _ in range(classes)
        )

    def pool(self, h: Tensor) -> Pooled:
        """Pool bags of one length, [b, n, width]."""
        z, scores = self.model(h, return_att=True)  # [b, width], [b, n]
        auxiliary = self._instance_loss(h, scores) if self.training else None
        return Pooled(z=z, attention=scores.float().softmax(dim=1), auxiliary=auxiliary)

    def _instance_loss(self, h: Tensor, scores: Tensor) -> Tensor:
        k = min(self.SAMPLES, h.shape[1] // 2)
        if k == 0:
            return h.new_zeros(len(h), len(self.model.inst_classifiers))
        top, bottom = (
            torch.stack([c(_taken(h, places)) for c in self.model.inst_classifiers], dim=1).float()
            for places in (scores.topk(k, dim=1).indices, (-scores).topk(k, dim=1).indices)
        )  # [b, K, k, 2]
        own = (_smooth_svm(top, 1) + _smooth_svm(bottom, 0)).mean(dim=2) / 2  # [b, K]
        other = _smooth_svm(top, 0).mean(dim=2)  # [b, K]
        mean = (own + other.sum(dim=1, keepdim=True) - other) / other.shape[1]
        return self.WEIGHT * mean


class DSMIL(ZooPool):
    """Attention to the critical instance, the one of highest logit (doi:10.48550/arXiv.2011.08939).

    Two streams, each with its loss: the bag vector's classifier, and the critical instance's
    logit. With three classes or more each has its critical instance, and z holds all of them.
    """

    def __init__(self, config: Aggregator, *, classes: int) -> None:
        super().__init__()
        self.streams = 1 if classes == 2 else classes
        self.length = self.streams * config.width
        self.model = _torchmil(config).DSMIL((config.width,), att_dim=config.attention)
        self.model.inst_classifier = nn.Linear(config.width, self.streams)
        self.model.bag_classifier = nn.Identity()

    def pool(self, h: Tensor) -> Pooled:
        """Pool bags of one length, [b, n, width]."""
        z, attention, logits = self.model(h, return_att=True, return_inst_pred=True)
        top = logits.float().reshape(*h.shape[:2], self.streams).amax(dim=1)  # [b, streams]
        if self.streams == 1:
            top = torch.cat([torch.zeros_like(top), top], dim=1)  # [b, K]
        return Pooled(
            z=z.flatten(1),  # [b, streams, width] -> [b, streams * width]
            attention=attention.float().mean(dim=2),  # [b, n, streams] -> [b, n]
            auxiliary=-top.log_softmax(dim=1) if self.training else None,
            top=top,
        )


class DTFDMIL(ZooPool):
    """Two tiers: attention within pseudo-bags, then over their vectors.

    Vectors are distilled by attention (AFS there); the pseudo-bags' own loss, with the label of
    their bag, is added. Five instances or more make a pseudo-bag, which are eight at most. They
    are drawn anew at each step of training and follow the bag's order in prediction: torchmil draws
    them there too, from a generator that nobody seeds, so only its attention pools stand here.
    Source: doi:10.48550/arXiv.2203.12081.
    """

    GROUPS, AT_LEAST = 8, 5

    def __init__(self, config: Aggregator, *, classes: int) -> None:
        super().__init__()
        self.length = config.width
        _torchmil(config)
        from torchmil.nn import AttentionPool

        self.first = AttentionPool(config.width, config.attention)
        self.second = AttentionPool(config.width, config.attention)
        self.classifier = nn.Linear(config.width, classes)

    def forward(self, bags: Sequence[Tensor]) -> Pooled:
        """Pool bags [n_b, width] of any lengths."""
        if not self.training:
            return super().forward(bags)
        orders = [torch.randperm(len(bag)).to(bag.device) for bag in bags]
        pooled = super().forward([bag[o] for bag, o in zip(bags, orders, strict=True)])
        rows = [pooled.attention[i, : len(o)][o.argsort()] for i, o in enumerate(orders)]
        return pooled._replace(attention=pad_sequence(rows, batch_first=True))

    def pool(self, h: Tensor) -> Pooled:
        """Pool bags of one length, [b, n, width]."""
        groups = max(1, min(self.GROUPS, h.shape[1] // self.AT_LEAST))
        tiers = [self.first(part, return_att=True) for part in h.tensor_split(groups, dim=1)]
        vectors = torch.stack([z for z, _ in tiers], dim=1)  # [b, G, width]
        z, scores = self.second(vectors, return_att=True)  # [b, width], [b, G]
        weights = scores.float().softmax(dim=1)
        attention = torch.cat(
            [s.float().softmax(dim=1) * weights[:, [g]] for g, (_, s) in enumerate(tiers)], dim=1
        )  # [b, n]
        auxiliary = None
        if self.training:
            auxiliary = -self.classifier(vectors).float().log_softmax(dim=2).mean(dim=1)  # [b, K]
        return Pooled(z=z, attention=attention, auxiliary=auxiliary)


class Transformer(ZooPool):
    """Self-attention among the instances, then attention pooling (doi:10.48550/arXiv.2410.03276).

    torchmil's TransformerABMIL; it has no positions, so that a bag is a set to it.
    """

    def __init__(self, config: Aggregator, *, classes: int) -> None:  # noqa: ARG002 - as the others
        super().__init__()
        self.length = config.width
        self.model = _torchmil(config).TransformerABMIL(
            (config.width,),
            pool_att_dim=config.attention,
            transf_att_dim=config.width,
            transf_n_heads=ZOO_HEADS,
        )
        self.model.last_layer = nn.Identity()

    def pool(self, h: Tensor) -> Pooled:
        """Pool bags of one length, [b, n, width]."""
        z, scores = self.model(h, return_att=True)  # [b, width], [b, n]
        return Pooled(z=z, attention=scores.float().softmax(dim=1))


_POOLS: dict[str, type[Any]] = {
    "transmil": TransMIL,
    "clam": CLAM,
    "dsmil": DSMIL,
    "dtfdmil": DTFDMIL,
    "transformer": Transformer,
}


def zoo_pool(config: Aggregator, *, classes: int) -> ZooPool:
    """The aggregator that `config.kind` names, with drawn weights.

    Raises
    ------
    ConfigError
        torchmil is not installed.
    """
    pool: ZooPool = _POOLS[config.kind](config, classes=classes)
    return pool


def check_zoo(what: str) -> None:
    """Whether the zoo's library is there, found out without importing it.

    Parameters
    ----------
    what
        What needs it, as the sentence names it.

    Raises
    ------
    ConfigError
        torchmil is not installed.
    """
    if importlib.util.find_spec("torchmil") is None:
        raise ConfigError(
            f"{what} needs the library torchmil, which is not installed.",
            "Run: pip install 'axilla[zoo]'; or pool by attention, gated, mean or max.",
        )


def _torchmil(config: Aggregator) -> ModuleType:
    check_zoo(f"the aggregator {config.kind}")
    import torchmil.models

    module: ModuleType = torchmil.models
    return module


def _taken(h: Tensor, places: Tensor) -> Tensor:
    """Instances [b, k, width] at places [b, k] of [b, n, width]."""
    return h.gather(1, places[..., None].expand(-1, -1, h.shape[-1]))


def _smooth_svm(logits: Tensor, target: int) -> Tensor:
    """Smooth top-1 SVM loss of two classes (doi:10.48550/arXiv.1802.07595): [..., 2] -> [...]."""
    return F.softplus(1 + logits[..., 1 - target] - logits[..., target])
