"""One thread: many small kernels on a shared machine are slower on more."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
