"""What names a program: all that it would differ by, and nothing else."""

import copy

import torch
from torch import nn

from ovseg_ros.core.engines.job import Job, fingerprint

CPU = torch.device("cpu")


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.rim = nn.Linear(2, 2), 3
        self.register_buffer("shift", torch.zeros(2), persistent=False)

    def forward(self, given):
        return self.layer(given) + self.shift


def job(module, rows=1, **changed):
    return Job(
        module, (torch.zeros(rows, 2),), **{"precision": "fp32", "device": CPU, "threads": 1} | changed
    )


def test_a_program_is_known_by_all_it_was_made_from():
    module = Small()
    known = fingerprint(job(module), "2026.1")
    assert fingerprint(job(copy.deepcopy(module)), "2026.1") == known
    changed = [copy.deepcopy(module) for _ in range(3)]
    with torch.no_grad():
        changed[0].layer.weight[0, 0] += 1e-6
    changed[1].shift += 1  # not in its state_dict
    changed[2].rim = 4
    found = {fingerprint(job(one), "2026.1") for one in changed}
    found |= {fingerprint(job(module), "2026.2"), fingerprint(job(module, rows=2), "2026.1")}
    found.add(fingerprint(job(module, precision="bf16"), "2026.1"))
    assert len(found | {known}) == 7
