"""Predictions, mIoU, bottleneck analyses, sweeps, reports."""
