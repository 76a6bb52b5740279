"""The method on tensors: regions, mask-prompted CLIP, classification, composition. No ROS, no I/O."""
