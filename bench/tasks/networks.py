"""Networks for pictures of 28 x 28 or 32 x 32 pixels that are not those of a task."""

from torch import Tensor, nn


def fcnet(width: int, channels: int, side: int, classes: int) -> nn.Module:
    """One hidden layer of so many units."""
    inputs = channels * side * side
    return nn.Sequential(
        nn.Flatten(), nn.Linear(inputs, width), nn.ReLU(inplace=True), nn.Linear(width, classes)
    )


def lenet(channels: int, side: int, classes: int) -> nn.Module:
    """LeNet-5 with ReLU and max-pooling; 28 pixels are padded to 32."""
    return nn.Sequential(
        nn.Conv2d(channels, 6, 5, padding=(32 - side) // 2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(inplace=True),
        nn.Linear(120, 84),
        nn.ReLU(inplace=True),
        nn.Linear(84, classes),
    )


class Block(nn.Module):
    """Two 3x3 convolutions with batch norm, added to what comes in."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        return (self.residual(x) + self.shortcut(x)).relu()


def resnet18(channels: int, side: int, classes: int) -> nn.Module:
    """ResNet-18 for small pictures: its first convolution is 3x3, and nothing is pooled before."""
    del side  # any
    blocks = []
    inputs = 64
    for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        blocks += [Block(inputs, outputs, stride), Block(outputs, outputs, 1)]
        inputs = outputs
    return nn.Sequential(
        nn.Conv2d(channels, 64, 3, padding=1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(512, classes),
    )
