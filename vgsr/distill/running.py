"""A statistic that runs along with training: saved in checkpoints, the same on every worker of a global batch.

In: the statistic of a batch. Out: its exponential average over the batches so far, without the bias of its start.
"""

import torch
from torch import Tensor, nn

MOMENTUM = 0.9  # a memory of about ten batches


class Running(nn.Module):
    """Exponential average of a scalar, bias-corrected (as in Kingma & Ba, Adam, 2015, section 3).

    It learns in training mode only. In evaluation mode before any training it answers with the batch at hand. A
    statistic that is not finite (an overflow, an empty batch) is left out: it would stay in the average for ever.
    """

    average: Tensor
    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("average", torch.zeros(()))
        self.register_buffer("seen", torch.zeros(()))  # weight gathered in `average`: divides its bias out

    @torch.no_grad()
    def forward(self, now: Tensor) -> Tensor:
        """The scalar of this batch -> the running one, in the same precision; 0 while none was finite."""
        if self.training:
            good = now.isfinite()
            kept = torch.where(good, MOMENTUM * self.average + (1 - MOMENTUM) * now, self.average)
            self.average.copy_(kept)
            self.seen.copy_(torch.where(good, MOMENTUM * self.seen + (1 - MOMENTUM), self.seen))
        return torch.where(self.seen > 0, (self.average / self.seen).to(now.dtype), now).nan_to_num(0.0, 0.0, 0.0)
