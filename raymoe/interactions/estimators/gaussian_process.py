"""A Gaussian process over coalitions whose interactions are known in closed form.

The kernel is a sum of Q products over players,

    k(S, T) = sum over q of a_q * product over i of kappa_qi(S_i, T_i),   kappa = [[1, rho c], [rho c, c^2]],

with a correlation rho and a scale c of presence per player and term. (A stationary kernel has c = 1. Trained
experts are steep where few features are present and flat where many are, or the other way round; the scale
carries that: on such experts c and a second term each cut the error several times.) The posterior mean is a
sum of products over players, and the mean of a product over contexts is an integral in one variable of a
product of means (``SizeLaw.nodes``), so its interaction index needs no sampling.

Everything is in float64. Shapes: m coalitions fitted, k asked, n players, Q terms, p pairs, s players asked
for.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from raymoe.errors import RaymoeError
from raymoe.interactions.sampling.coalitions import SizeLaw

TERMS = 2
STEPS = 60
RATE = 0.1
MIN_NOISE = 1e-8  # of the values' variance; keeps the factorisation well conditioned


class ProductKernel:
    """The kernel, and its parameters fitted by marginal likelihood.

    Args:
        coalitions: bool [m, n], a few hundred.
        values: float [m].
    """

    def __init__(self, coalitions: np.ndarray, values: np.ndarray) -> None:
        n = coalitions.shape[1]
        self.mean, self.scale = float(values.mean()), float(values.std()) or 1.0
        x = torch.from_numpy(coalitions).double()
        y = torch.from_numpy((values - self.mean) / self.scale)
        # Terms start with different correlations, so that they part.
        correlation = torch.ones(TERMS, n, dtype=torch.double) + 1.5 * torch.arange(TERMS)[:, None]
        raw = [
            correlation,
            torch.zeros(TERMS, n, dtype=torch.double),
            -torch.arange(TERMS, dtype=torch.double),
            torch.tensor(-6.0, dtype=torch.double),
        ]
        for each in raw:
            each.requires_grad_(True)
        optimiser = torch.optim.Adam(raw, lr=RATE)
        best, kept = np.inf, [each.detach().clone() for each in raw]
        with torch.enable_grad():
            for _ in range(STEPS):
                optimiser.zero_grad()
                self._set(*raw)
                factor, failed = torch.linalg.cholesky_ex(self.matrix(x, x) + self.noise * torch.eye(len(x)))
                if failed:
                    break
                weighted = torch.cholesky_solve(y[:, None], factor)[:, 0]
                # the scale of the kernel in closed form, so that it need not be searched
                loss = 0.5 * len(y) * torch.log((y @ weighted).clamp(min=1e-300) / len(y))
                loss = loss + torch.log(torch.diagonal(factor)).sum()
                if not torch.isfinite(loss):
                    break
                if loss.item() < best:
                    best, kept = loss.item(), [each.detach().clone() for each in raw]
                torch.autograd.backward(loss)
                optimiser.step()
        self._set(*kept)

    def _set(self, correlation: Tensor, scale: Tensor, weight: Tensor, noise: Tensor) -> None:
        presence = torch.exp(1.5 * torch.tanh(scale))
        self.cross_Qn = torch.sigmoid(correlation + 1) * presence  # kappa(0, 1)
        self.both_Qn = presence**2  # kappa(1, 1)
        self.weight_Q = torch.exp(weight)
        self.noise = torch.exp(noise) + MIN_NOISE

    def terms(self, x_kn: Tensor, y_mn: Tensor) -> Tensor:
        """Each term of the kernel between two sets of coalitions, [Q, k, m]."""
        log_cross, log_both = torch.log(self.cross_Qn), torch.log(self.both_Qn)
        exponent = (x_kn * (log_both - 2 * log_cross)[:, None]) @ y_mn.T
        exponent = exponent + (log_cross @ x_kn.T)[:, :, None] + (log_cross @ y_mn.T)[:, None]
        return self.weight_Q[:, None, None] * torch.exp(exponent)

    def matrix(self, x_kn: Tensor, y_mn: Tensor) -> Tensor:
        """The kernel between two sets of coalitions, [k, m]."""
        return self.terms(x_kn, y_mn).sum(0)

    def player(self, x_mn: Tensor) -> tuple[Tensor, Tensor]:
        """kappa(0, x) and kappa(1, x) of every coalition and player, each [Q, m, n]."""
        absent = torch.where(x_mn > 0, self.cross_Qn[:, None], 1.0)
        present = torch.where(x_mn > 0, self.both_Qn[:, None], self.cross_Qn[:, None])
        return absent, present


class GaussianProcess:
    """Posterior means that leave out any group of the coalitions, from one factorisation.

    Args:
        kernel: fitted.
        coalitions: bool [m, n], all different.
        values: float [m].
    """

    def __init__(self, kernel: ProductKernel, coalitions: np.ndarray, values: np.ndarray) -> None:
        self.kernel = kernel
        self.x_mn = torch.from_numpy(coalitions).double()
        self.y_m = torch.from_numpy((values - kernel.mean) / kernel.scale)
        covariance = kernel.matrix(self.x_mn, self.x_mn)
        noise = float(kernel.noise)
        for _ in range(20):  # any noise leaves the estimate unbiased, and tenfold is soon enough
            covariance.diagonal().add_(noise)
            factor, failed = torch.linalg.cholesky_ex(covariance)
            if not failed:
                break
            noise *= 9
        else:
            raise RaymoeError(
                "the surrogate could not be fitted to the game's values", "Use method='shared' instead."
            )
        self.inverse = torch.cholesky_inverse(factor)
        self.alpha_m = self.inverse @ self.y_m

    def without(self, left_out: np.ndarray) -> Tensor:
        """Weights of the posterior mean fitted to all coalitions but these, [m]; 0 at these."""
        if not len(left_out):
            return self.alpha_m
        index = torch.from_numpy(left_out)
        solved = torch.linalg.solve(self.inverse[index][:, index], self.alpha_m[index])
        alpha_m: Tensor = self.alpha_m - self.inverse[:, index] @ solved
        alpha_m[index] = 0.0
        return alpha_m

    def predict(self, coalitions: np.ndarray, alpha_m: Tensor, at_once: int = 4096) -> np.ndarray:
        """Posterior mean, float64 [k], in the values' own units."""
        x_kn = torch.from_numpy(coalitions).double()
        parts = [self.kernel.matrix(part, self.x_mn) @ alpha_m for part in torch.split(x_kn, at_once)]
        return self.kernel.mean + self.kernel.scale * torch.cat(parts).numpy()

    def interactions(
        self, alpha_m: Tensor, law: SizeLaw, players: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Index of players [s] and of pairs of them [s, s] under the posterior mean, without sampling."""
        absent_Qmn, present_Qmn = self.kernel.player(self.x_mn)
        n = self.x_mn.shape[1]
        first = torch.zeros(len(players), dtype=torch.double)
        second = torch.zeros(len(players), len(players), dtype=torch.double)
        # A product over up to n players of means that are linear in t: degree n at most.
        for t, weight in zip(*law.nodes(n), strict=True):
            mean_Qmn = (1 - t) * absent_Qmn + t * present_Qmn
            product_Qm = torch.log(mean_Qmn).sum(2).exp() * self.kernel.weight_Q[:, None] * alpha_m * weight
            step_Qms = ((present_Qmn - absent_Qmn) / mean_Qmn)[..., players]
            first += torch.einsum("qm,qms->s", product_Qm, step_Qms)
            second += ((step_Qms * product_Qm[..., None]).transpose(1, 2) @ step_Qms).sum(0)
        return (self.kernel.scale * first).numpy(), (self.kernel.scale * second).numpy()

    def corners(
        self, contexts: np.ndarray, pairs: np.ndarray, alpha_m: Tensor, at_once: int = 16
    ) -> np.ndarray:
        """Posterior mean at the corners of pairs around coalitions, [4, k, p], as ``grid.Corners.corners``.

        Flipping a player multiplies a term by a ratio of its own, so a grid around S costs a product of two
        matrices instead of one evaluation per corner.
        """
        absent_Qmn, present_Qmn = self.kernel.player(self.x_mn)
        ratio_Qmn = present_Qmn / absent_Qmn
        first, column_u = np.unique(pairs[:, 0], return_inverse=True)
        second, column_v = np.unique(pairs[:, 1], return_inverse=True)
        found = []
        for start in range(0, len(contexts), at_once):
            own = contexts[start : start + at_once]
            x_kn = torch.from_numpy(own).double()
            weight_Qkm = self.kernel.terms(x_kn, self.x_mn) * alpha_m
            inside = torch.from_numpy(own)[None, :, None]
            flip_u, flip_v = (
                torch.where(
                    inside[..., players],
                    1 / ratio_Qmn[:, None][..., players],
                    ratio_Qmn[:, None][..., players],
                )
                for players in (first, second)
            )  # [Q, k, m, players]
            none = weight_Qkm.sum((0, 2))
            weighted_u = weight_Qkm[..., None] * flip_u
            only_u = weighted_u.sum((0, 2))
            only_v = (weight_Qkm[..., None] * flip_v).sum((0, 2))
            both = (weighted_u.transpose(2, 3) @ flip_v).sum(0)
            flipped = np.stack(
                [
                    np.broadcast_to(none[:, None].numpy(), (len(own), len(pairs))),
                    only_u.numpy()[:, column_u],
                    only_v.numpy()[:, column_v],
                    both.numpy()[:, column_u, column_v],
                ]
            )
            present = own[:, pairs[:, 0]] + 2 * own[:, pairs[:, 1]].astype(int)
            found.append(
                np.stack([np.take_along_axis(flipped, (present ^ wanted)[None], 0)[0] for wanted in range(4)])
            )
        return self.kernel.mean + self.kernel.scale * np.concatenate(found, 1)
