"""Fréchet distance between two sets of features: FID and VFID are this on given networks."""

import torch
from torch import Tensor


def frechet_distance(features: Tensor, references: Tensor) -> float:
    """The distance of the normal distributions with the moments of two sets of features.

    Args:
        features: ``(N, D)``, at least two samples.
        references: ``(M, D)``, at least two samples.

    Returns:
        ``|μ1 − μ2|² + tr(Σ1 + Σ2 − 2 (Σ1 Σ2)^½)`` with the sample covariance, never negative
        beyond rounding. The covariances may be singular, as they are for fewer samples than
        dimensions.

    Raises:
        ValueError: If a set is too small or the dimensions differ.

    Source:
        Heusel et al., "GANs trained by a two time-scale update rule", NeurIPS 2017, equation (6).
    """
    for name, samples in (("features", features), ("references", references)):
        if samples.ndim != 2 or samples.shape[0] < 2 or samples.shape[1] != features.shape[1]:
            msg = (
                f"{name} must be (N, {features.shape[-1]}) with at least two samples, "
                f"got {tuple(samples.shape)}"
            )
            raise ValueError(msg)
    mean_1, covariance_1 = _moments(features)
    mean_2, covariance_2 = _moments(references)
    # Σ1 Σ2 has the eigenvalues of the symmetric Σ1^½ Σ2 Σ1^½, whose square root always exists.
    root_1 = _square_root(covariance_1)
    product_eigenvalues = torch.linalg.eigvalsh(root_1 @ covariance_2 @ root_1)
    trace_of_root = product_eigenvalues.clamp(min=0.0).sqrt().sum()
    difference = mean_1 - mean_2
    traces = covariance_1.trace() + covariance_2.trace()
    return float(difference @ difference + traces - 2.0 * trace_of_root)


def _moments(samples: Tensor) -> tuple[Tensor, Tensor]:
    samples = samples.double()
    return samples.mean(dim=0), torch.cov(samples.T).reshape(samples.shape[1], samples.shape[1])


def _square_root(symmetric: Tensor) -> Tensor:
    eigenvalues, eigenvectors = torch.linalg.eigh(symmetric)
    root: Tensor = eigenvectors * eigenvalues.clamp(min=0.0).sqrt() @ eigenvectors.T
    return root
