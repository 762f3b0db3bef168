"""The model: encoder, attention over the bag, clinical fusion, classifier, in one file."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

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


class AttentionPool(nn.Module):
    """z = sum_n a_n h_n, a = softmax_n(w^T tanh(V h_n)), Ilse 2018, equations 7 and 8.

    Gated: a = softmax_n(w^T (tanh(V h_n) * sigm(U h_n))), equation 9. Mean and max pooling are the
    baselines; for max, a_n is the share of the dimensions of z that instance n gives.
    `original: true` has d = 1 and dropout on the logits, as the paper's code.
    """

    def __init__(self, config: Aggregator) -> None:
        super().__init__()
        self.kind = config.kind
        hidden = 1 if config.original else config.attention
        if config.kind in {"attention", "gated"}:
            self.tanh = nn.Sequential(nn.Linear(config.width, hidden), nn.Tanh())
            self.score = nn.Linear(hidden, 1)
            self.score_dropout = nn.Dropout(config.dropout if config.original else 0.0)
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
    `encoder` f is None where features come ready (frozen).
    """

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
        first = nn.Linear(features, config.width)
        self.dtype = first.weight.dtype
        self.project = nn.Sequential(first, nn.Dropout(config.dropout), nn.ReLU())
        self.pool = AttentionPool(config)
        self.classifier = nn.Sequential(
            nn.Linear(config.width + CLINICAL_COPIES * clinical, 64),
            nn.ReLU(),
            nn.Linear(64, classes),
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
        padded = pad_sequence(list(h.split(lengths)), batch_first=True)  # [B, N, width]
        steps = torch.arange(padded.shape[1], device=h.device)
        mask = steps[None, :] < torch.tensor(lengths, device=h.device)[:, None]  # [B, N]
        z, attention = self.pool(padded, mask)
        if self.clinical:
            if clinical is None:
                raise ValueError("DL-CNB+C needs the clinical vectors of its bags")
            z = torch.cat([z, clinical.to(z.dtype).repeat(1, CLINICAL_COPIES)], dim=1)
        return BagOutput(logits=self.classifier(z).float(), attention=attention)
