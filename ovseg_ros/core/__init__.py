"""The method on tensors: words, regions, CLIP, classification, maps, tracking. No ROS, no files."""
