"""`ovseg learn` and `ovseg evaluate tabletop`: pairs, finetuning, mask prompts, the paper's road."""
