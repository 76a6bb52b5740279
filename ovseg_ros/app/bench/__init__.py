"""`ovseg bench`: what a frame costs, stage by stage, beside the method as it was released."""
