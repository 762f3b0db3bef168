"""The model: encoder, attention over the bag, clinical fusion, classifier, in one file."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from axilla.core.methods import ZOO
from axilla.mil.zoo import Pooled, ZooPool, zoo_pool

if TYPE_CHECKING:
    from axilla.core.config import Aggregator

CLINICAL_COPIES = 10
"""The clinical vector is copied so often before it is fused (paper, section 2.2, step 3)."""


class BagOutput(NamedTuple):
    """What the model says of each bag."""

    logits: Tensor
    """[B, K]."""
    attention: Tensor
    """[B, N], sums to 1 over a bag's instances, 0 where padded."""
    auxiliary: Tensor | None = None
    """[B, K], in training: what a model of the zoo adds to a bag's loss if its label is k."""


class AttentionPool(nn.Module):
    """z = sum_n a_n h_n, a = softmax_n(w^T tanh(V h_n)), Ilse 2018, equations 7 and 8.

    Gated: a = softmax_n(w^T (tanh(V h_n) * sigm(U h_n))), equation 9. Mean and max pooling are the
    baselines; for max, a_n is the share of the dimensions of z that instance n gives.
    `original: true` has d = 1 and dropout before the tanh and on the logits, as the paper's code.
    """

    def __init__(self, config: Aggregator) -> None:
        super().__init__()
        self.kind = config.kind
        hidden = 1 if config.original else config.attention
        if config.kind in {"attention", "gated"}:
            dropout = config.dropout if config.original else 0.0
            self.tanh = nn.Sequential(
                nn.Linear(config.width, hidden), nn.Dropout(dropout), nn.Tanh()
            )
            self.score = nn.Linear(hidden, 1)
            self.score_dropout = nn.Dropout(dropout)
        if config.kind == "gated":
            self.gate = nn.Sequential(nn.Linear(config.width, hidden), nn.Sigmoid())

    def forward(self, h: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Pool bags.

        Parameters
        ----------
        h
            Instances [B, N, width].
        mask
            True where an instance is, [B, N].

        Returns
        -------
        tuple of Tensor
            Bag vectors [B, width] and attention [B, N].
        """
        if self.kind == "max":
            z, winner = h.masked_fill(~mask[..., None], -torch.inf).max(dim=1)  # [B, width]
            wins = torch.zeros_like(h[..., 0]).scatter_add_(1, winner, torch.ones_like(z))  # [B, N]
            return z, wins / h.shape[-1]
        if self.kind == "mean":
            attention = mask / mask.sum(dim=1, keepdim=True)  # [B, N]
        else:
            hidden = self.tanh(h)  # [B, N, d]
            if self.kind == "gated":
                hidden = hidden * self.gate(h)
            scores = self.score_dropout(self.score(hidden)).squeeze(-1)  # [B, N]
            scores = scores.float().masked_fill(~mask, -torch.inf)
            attention = scores.softmax(dim=1)
        z = (attention.to(h.dtype)[:, None, :] @ h).squeeze(1)  # [B, 1, N] @ [B, N, W] -> [B, W]
        return z, attention


class DLCNB(nn.Module):
    """DL-CNB, and DL-CNB+C where `clinical` > 0 (paper, section 2.2, figure 2).

    h_n = ReLU(dropout(W f(x_n))); z = pool(h); logits = classifier([z, c, c, ... c]), c ten times.
    `encoder` f is None where features come ready (frozen). The classifier has a hidden layer of 64;
    models of the zoo have a linear one, as they are defined.
    """

    batch_norm: str = "running"
    """batch: in prediction too a patch's feature depends on the others of its bag."""

    def __init__(
        self,
        *,
        encoder: nn.Module | None,
        features: int,
        clinical: int,
        classes: int,
        config: Aggregator,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.features = features
        self.clinical = clinical
        self.classes = classes
        first = nn.Linear(features, config.width)
        self.dtype = first.weight.dtype
        self.project = nn.Sequential(first, nn.Dropout(config.dropout), nn.ReLU())
        self.pool: AttentionPool | ZooPool
        self.classifier: nn.Module
        fused = CLINICAL_COPIES * clinical
        if config.kind in ZOO:
            self.pool = zoo_pool(config, classes=classes)
            self.classifier = nn.Linear(self.pool.length + fused, classes)
        else:
            self.pool = AttentionPool(config)
            self.classifier = nn.Sequential(
                nn.Linear(config.width + fused, 64), nn.ReLU(), nn.Linear(64, classes)
            )

    def forward(
        self, instances: Tensor, lengths: list[int], clinical: Tensor | None = None
    ) -> BagOutput:
        """Logits and attention of bags.

        Parameters
        ----------
        instances
            All instances of all bags, one after the other: [S, D] features, or [S, 3, h, w] uint8
            patches where there is an encoder; S = sum(lengths).
        lengths
            Instances of each bag, B numbers.
        clinical
            [B, C], needed by DL-CNB+C.
        """
        f = instances if self.encoder is None else self.encoder(instances)  # [S, D]
        # Autocast multiplies bfloat16 features as they come; through float32 it only takes longer.
        as_is = f.dtype == torch.bfloat16 and torch.is_autocast_enabled(f.device.type)
        h = self.project(f if as_is else f.to(self.dtype))  # [S, width]
        pooled = self._pooled(list(h.split(lengths)))
        z = pooled.z
        if self.clinical:
            if clinical is None:
                raise ValueError("DL-CNB+C needs the clinical vectors of its bags")
            z = torch.cat([z, clinical.to(z.dtype).repeat(1, CLINICAL_COPIES)], dim=1)
        logits = self.classifier(z).float()  # [B, K]
        if pooled.top is not None and not self.training:
            logits = (logits + pooled.top) / 2  # in training each stream has a loss of its own
        return BagOutput(logits=logits, attention=pooled.attention, auxiliary=pooled.auxiliary)

    def _pooled(self, bags: list[Tensor]) -> Pooled:
        """Bag vectors and attention of bags [n_b, width]."""
        if isinstance(self.pool, ZooPool):
            pooled: Pooled = self.pool(bags)
            return pooled
        padded = pad_sequence(bags, batch_first=True)  # [B, N, width]
        steps = torch.arange(padded.shape[1], device=padded.device)
        lengths = torch.tensor([len(bag) for bag in bags], device=padded.device)
        mask = steps[None, :] < lengths[:, None]  # [B, N]
        z, attention = self.pool(padded, mask)
        return Pooled(z=z, attention=attention)
