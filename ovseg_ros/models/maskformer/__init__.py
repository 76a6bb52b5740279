"""MaskFormer, the paper's and public ones."""
