"""What a machine offers to a run: devices, their memory, cores."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from unseg_d2.devices import available_cores

GIGABYTE = 1024**3
MEMORY_PER_IMAGE = 2.0
"""Gigabytes that an image takes in the training of a Cascade Mask R-CNN R50 with sides of up to 1333 px."""
LARGEST_BATCH = 16
"""Images per device: that of CutLER's whole training (section 4)."""


@dataclass(frozen=True)
class Machine:
    """Where a run takes place.

    Attributes:
        gpus: number of CUDA devices.
        memory: of the smallest of them, gigabytes; 0 without.
        cores: that this process may use.
        name: of the device.
    """

    gpus: int
    memory: float
    cores: int
    name: str

    @classmethod
    def this(cls) -> Machine:
        """Return the machine that we are on."""
        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        properties = [torch.cuda.get_device_properties(index) for index in range(gpus)]
        memory = min((one.total_memory / GIGABYTE for one in properties), default=0.0)
        return cls(gpus, memory, available_cores(), properties[0].name if properties else "CPU")

    def line(self) -> str:
        """Return it in words.

        >>> Machine(0, 0.0, 2, "CPU").line(), Machine(2, 39.6, 16, "NVIDIA A100").line()
        ('no GPU, 2 cores', '2 x NVIDIA A100 with 40 GB, 16 cores')
        """
        cores = f"{self.cores} core{'s' if self.cores != 1 else ''}"
        gpus = f"{self.gpus} x {self.name} with {self.memory:.0f} GB" if self.gpus else "no GPU"
        return f"{gpus}, {cores}"

    def batch(self) -> int:
        """Return the images that fit into one GPU's memory in training, a power of two; the recipe's on CPUs is kept.

        >>> Machine(1, 24.0, 8, "").batch(), Machine(1, 8.0, 8, "").batch(), Machine(1, 140.0, 8, "").batch()
        (8, 4, 16)
        """
        fitting = max(1, int(self.memory / MEMORY_PER_IMAGE))
        return min(LARGEST_BATCH, 1 << (fitting.bit_length() - 1))
