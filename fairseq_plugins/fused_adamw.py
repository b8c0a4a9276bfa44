"""`--optimizer fused_adamw`: torch's AdamW in one kernel, with the options of fairseq's Adam.

fairseq takes a fused Adam from apex alone and otherwise goes through the tensors one by one.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from fairseq.optim import FairseqOptimizer, register_optimizer
from fairseq.optim.adam import FairseqAdam, FairseqAdamConfig
from torch import nn

from abnet.errors import AbNetError


@register_optimizer("fused_adamw", dataclass=FairseqAdamConfig)
class FusedAdamW(FairseqAdam):
    """fairseq's Adam (an AdamW, too) but for epsilon, which that adds before it corrects the bias.

    Its moments are in the weights' own precision, so it must see weights in 32 bits, as with
    `--bf16` and `--fp16`; `--memory-efficient-bf16` is refused by fairseq.
    """

    def __init__(self, cfg: FairseqAdamConfig, params: Iterable[nn.Parameter]) -> None:
        for name in ("fp16_adam_stats", "use_old_adam"):
            if getattr(cfg, name):
                flag = "--" + name.replace("_", "-")
                raise AbNetError(
                    f"`{flag}` must be left out with `--optimizer fused_adamw`: `--optimizer adam` "
                    "has it."
                )
        FairseqOptimizer.__init__(self, cfg)
        self._optimizer = torch.optim.AdamW(list(params), fused=True, **self.optimizer_config)

    @property
    def supports_flat_params(self) -> bool:
        """It takes all weights as one tensor, as `--fp16` has them on a GPU."""
        return True

    @property
    def supports_memory_efficient_fp16(self) -> bool:
        """It does not: see above."""
        return False
