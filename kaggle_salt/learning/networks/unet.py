"""U-Net on any encoder, with the additions that the competition's best solutions share."""

from __future__ import annotations

from collections.abc import Sequence

from segmentation_models_pytorch.base import initialization
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from segmentation_models_pytorch.encoders.vgg import VGGEncoder
from torch import Tensor, nn

from kaggle_salt.learning.networks.blocks import EmptyHead, HypercolumnHead, SideHeads, hypercolumn
from kaggle_salt.learning.networks.encoders import KeepResolution, halve_once_less, stage_channels
from kaggle_salt.learning.outputs import Outputs


class SmpUnet(nn.Module):
    """The U-Net of segmentation_models_pytorch, the names of its weights included.

    Args:
        encoder: As from :func:`kaggle_salt.learning.networks.encoders.make_encoder`.
        decoder_channels: Channels of the five decoder stages, from the bottom up.
        scse: Gate every decoder stage by squeeze and excitation (smp's scSE).
        hypercolumn: The head sees all decoder stages, not the last alone.
        keep_resolution: Leave out the encoder's first max-pool (``pool``) or the stride of its
            first convolution (``stem``).
        deep_supervision: In training, each decoder stage but the last has logits of its own.
        empty_head: A feature of the encoder's last map joins what the head reads. In training
            it also tells whether a tile has salt, and a second head, which does not see it,
            learns from the tiles that have.

    Sources: Ronneberger, Fischer, Brox, "U-Net", MICCAI 2015; the heads after the 4th place of
    the competition.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder_channels: Sequence[int] = (256, 128, 64, 32, 16),
        *,
        scse: bool = False,
        hypercolumn: bool = False,
        keep_resolution: KeepResolution = "none",
        deep_supervision: bool = False,
        empty_head: bool = False,
    ) -> None:
        super().__init__()
        halve_once_less(encoder, keep_resolution)
        self.encoder = encoder
        self.decoder = _make_decoder(encoder, decoder_channels, scse)
        self.hypercolumn = hypercolumn
        channels = sum(decoder_channels) if hypercolumn else decoder_channels[-1]
        self.empty_head: EmptyHead | None = None
        seen = channels
        if empty_head:
            self.empty_head = EmptyHead(stage_channels(encoder)[-1], self._pixel_head(channels))
            seen += self.empty_head.width
        self.side_heads = SideHeads(decoder_channels[:-1] if deep_supervision else ())
        self.segmentation_head = self._pixel_head(seen)

    def _pixel_head(self, channels: int) -> nn.Module:
        if self.hypercolumn:
            return HypercolumnHead(channels)
        head = nn.Sequential(nn.Conv2d(channels, 1, 3, padding=1))
        initialization.initialize_head(head)
        return head

    def forward(self, x: Tensor) -> Tensor | Outputs:
        features = self.encoder(x)
        stages = self._decode(features)
        seen = hypercolumn(stages) if self.hypercolumn else stages[-1]  # [B, C, S, S]
        nonempty = has_salt = None
        if self.empty_head is not None:
            seen, nonempty, has_salt = self.empty_head(features[-1], seen)
        logits: Tensor = self.segmentation_head(seen)  # [B, 1, S, S]
        if not self.training or (self.empty_head is None and not self.side_heads):
            return logits
        sides = self.side_heads(stages, logits.shape[-2:])
        return Outputs(logits, sides, nonempty, has_salt)

    def _decode(self, features: list[Tensor]) -> list[Tensor]:
        """The outputs of the decoder's stages; the input's size is that of the last."""
        sizes = [feature.shape[-2:] for feature in features[-2::-1]]
        skips = [*features[-2:0:-1], None]
        x = self.decoder.get_submodule("center")(features[-1])
        stages = []
        blocks = self.decoder.get_submodule("blocks").children()
        for block, (height, width), skip in zip(blocks, sizes, skips, strict=True):
            x = block(x, height, width, skip_connection=skip)
            stages.append(x)
        return stages


def _make_decoder(encoder: nn.Module, channels: Sequence[int], scse: bool) -> nn.Module:
    if scse and min(channels) < 16:  # smp would build a gate that sees nothing, and only warn
        raise ValueError("scSE squeezes 16 channels into one, so decoder_channels must be >= 16")
    decoder: nn.Module = UnetDecoder(
        encoder_channels=stage_channels(encoder),
        decoder_channels=channels,
        n_blocks=5,
        attention_type="scse" if scse else None,
        add_center_block=isinstance(encoder, VGGEncoder),  # as smp.Unet has it
    )
    initialization.initialize_decoder(decoder)
    *_, last = decoder.get_submodule("blocks").children()
    last.attention1 = nn.Identity()  # smp's would gate a skip, and this block has none
    return decoder
