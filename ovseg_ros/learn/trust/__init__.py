"""Fitting when to believe an encoder: calibration of the rule of absence on frames with known truth."""
