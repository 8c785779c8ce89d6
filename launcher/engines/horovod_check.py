"""Run by two ranks after an installation: fails unless Horovod moves tensors between them."""

import horovod.torch as hvd
import torch

hvd.init()
found = hvd.allreduce(torch.tensor([float(hvd.rank())]), op=hvd.Average, name="check")
if (hvd.size(), found.item()) != (2, 0.5):
    raise SystemExit(f"rank {hvd.rank()} of {hvd.size()} got {found.item()} instead of 0.5")
hvd.shutdown()
