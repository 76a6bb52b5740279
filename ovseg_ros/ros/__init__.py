"""The ROS 2 node and everything that touches rclpy or messages."""
