"""In which precision a device computes fast."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def fast_in_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies matrices of bfloat16 faster than those of float32."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    can = torch.cpu.get_capabilities()
    return bool(can.get("amx_bf16") or can.get("avx512_bf16"))


def avoid_planned_attention() -> None:
    """Keep this process from cuDNN's attention, which torch prefers for half precision on recent GPUs.

    It is planned anew for each shape of a batch, which took some 0.1 s on an H200: more than all else, where
    prompts and batches are of any length.
    """
    import torch

    torch.backends.cuda.enable_cudnn_sdp(False)
