"""The parts of VINet that find motion and occlusion, from coarse to fine, on features.

Kim et al., "Deep video inpainting", CVPR 2019, section 3. They follow PWC-Net (Sun et al.,
CVPR 2018): a cost volume, an estimator and a context network, but on features of VINet.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from operators.functional.precision import exact
from operators.models.pwcnet import COST_CHANNELS, cost_volume

SLOPE = 0.1


def _conv(inputs: int, outputs: int, *, dilation: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation)
    return nn.Sequential(conv, nn.LeakyReLU(SLOPE))


class ContextNetwork(nn.Module):
    """Corrects a flow from the estimator's features, looking far around by dilation.

    Departure from PWC-Net, as published: the last layer has an activation as well.
    """

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            _conv(32 + 2, 128),
            _conv(128, 128, dilation=2),
            _conv(128, 128, dilation=4),
            _conv(128, 96, dilation=8),
            _conv(96, 64, dilation=16),
            _conv(64, 32),
            _conv(32, 2),
        )

    def forward(self, features: Tensor) -> Tensor:
        """``(B, 34, H, W)`` features and flow to the correction, ``(B, 2, H, W)`` pixels."""
        output: Tensor = self.convs(features)
        return output


class FlowEstimator(nn.Module):
    """Flow from features, costs and what is known of the flow.

    Departure from PWC-Net, as published: the layers are not densely connected, and the costs have
    no activation.

    Args:
        inputs: Channels read.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            _conv(inputs, 128), _conv(128, 128), _conv(128, 96), _conv(96, 64), _conv(64, 32)
        )
        self.conv1 = nn.Conv2d(32, 2, 3, padding=1)
        self.convs_fine = ContextNetwork()

    def forward(self, inputs: Tensor) -> Tensor:
        """``(B, inputs, H, W)`` to ``(B, 2, H, W)`` pixels."""
        features = self.convs(inputs)
        flow = self.conv1(features)
        output: Tensor = flow + self.convs_fine(torch.cat((features, flow), dim=1))
        return exact(output)


class FlowNetwork(nn.Module):
    """Flow between two feature maps at one scale of the pyramid.

    Args:
        channels: Channels of either map.
        is_coarsest: True if no coarser scale hands a flow over.
    """

    def __init__(self, channels: int, *, is_coarsest: bool) -> None:
        super().__init__()
        self.flow_estimator = FlowEstimator(channels + COST_CHANNELS + (0 if is_coarsest else 2))

    def forward(self, target: Tensor, reference: Tensor, flow: Tensor | None = None) -> Tensor:
        """Estimate, or refine.

        Args:
            target: ``(B, C, H, W)`` features on whose grid the flow lives.
            reference: ``(B, C, H, W)`` features that the flow points into; where ``flow`` is
                given, already warped by it.
            flow: ``(B, 2, H, W)``, the flow of the next coarser scale brought to this one; None
                at the coarsest.

        Returns:
            ``(B, 2, H, W)`` pixels.
        """
        costs = cost_volume(target, reference)
        if flow is None:
            estimated: Tensor = self.flow_estimator(torch.cat((target, costs), dim=1))
            return estimated
        residual: Tensor = self.flow_estimator(torch.cat((target, costs, flow), dim=1))
        return flow + residual


def enlarge_flow(flow: Tensor, scale: int) -> Tensor:
    """``(B, 2, H, W)`` to ``(B, 2, scale * H, scale * W)``, in pixels of the new grid."""
    enlarged = F.interpolate(flow, scale_factor=scale, mode="bilinear", align_corners=False)
    return enlarged * scale


class MaskNetwork(nn.Module):
    """Where one feature map may be replaced by another, from their difference.

    Args:
        channels: Channels of the maps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.convs = nn.Sequential(
            _conv(channels, half), _conv(half, half), nn.Conv2d(half, 1, 3, padding=1)
        )

    def forward(self, target: Tensor, candidate: Tensor) -> Tensor:
        """``(B, C, H, W)`` twice to ``(B, 1, H, W)`` in ``[0, 1]``: 1 takes the candidate."""
        output: Tensor = self.convs((target - candidate).abs())
        return output.sigmoid()
