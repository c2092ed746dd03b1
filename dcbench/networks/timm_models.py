"""Networks of the package timm by name, for evaluation: ``timm:resnet10t``."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch
from torch import Tensor, nn

from dcbench.images import ImageSpec
from dcbench.networks.base import Network, Observation
from dcbench.system.errors import MismatchError, UnknownNameError

PREFIX = "timm:"
_SEEDED = (nn.Conv2d, nn.Linear, nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)


class TimmNetwork(Network):
    """An untrained network of timm; its taps are the outputs of its convolutions."""

    def __init__(self, name: str, spec: ImageSpec) -> None:
        super().__init__()
        import timm

        self.model: Any = timm.create_model(
            name, pretrained=False, num_classes=spec.classes, in_chans=spec.channels
        )

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images)
        return logits

    def observe(self, images: Tensor) -> Observation:
        taps: list[Tensor] = []
        hooks = [
            module.register_forward_hook(lambda _module, _given, made: taps.append(made))
            for module in self.model.modules()
            if isinstance(module, nn.Conv2d)
        ]
        try:
            last = self.model.forward_features(images)
        finally:
            for hook in hooks:
                hook.remove()
        features = self.model.forward_head(last, pre_logits=True).flatten(1)
        return Observation(self.model.forward_head(last), features, tuple(taps))

    @property
    def unseeded(self) -> list[str]:
        """The parameters that ``initialise`` does not draw anew for each network."""
        return [
            f"{place}.{name}".lstrip(".")
            for place, module in self.model.named_modules()
            for name, _ in module.named_parameters(recurse=False)
            if not isinstance(module, _SEEDED) or name not in ("weight", "bias")
        ]


def require_timm(name: str) -> None:
    """Raise UnknownNameError if timm has no such network, MismatchError if timm is not
    installed.
    """
    if importlib.util.find_spec("timm") is None:
        raise MismatchError(f"{PREFIX}{name} needs timm, which is not installed: pip install timm")
    import timm

    if not timm.is_model(name):
        raise UnknownNameError("network of timm", name, timm.list_models())


def timm_network(name: str, spec: ImageSpec) -> TimmNetwork:
    """Build timm's network ``name`` for images of ``spec``. Raises MismatchError if it cannot take
    them, or has parameters that cannot be drawn from a seed.
    """
    require_timm(name)
    try:
        network = TimmNetwork(name, spec)
        network.eval()
        with torch.no_grad():
            place = next(network.parameters()).device
            network.observe(torch.zeros(2, *spec.shape, device=place))
    except (RuntimeError, AssertionError, ValueError, TypeError, AttributeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise MismatchError(
            f"cannot see images of {spec.channels}×{spec.size}×{spec.size} ({reason:.200}); choose "
            "another network"
        ) from error
    if network.unseeded:
        raise MismatchError(
            f"has parameters that are no convolution's, layer's or normalisation's "
            f"({network.unseeded[0]}), which cannot be drawn from a seed; choose another network"
        )
    network.train()
    return network
