// Ticks a tree of one node until it has an answer: ros2 run ovseg_bt_example find "find teapot"
#include <cstdio>
#include <memory>
#include <string>
#include <thread>

#include "find_object.hpp"

int main(int argc, char ** argv)
{
  rclcpp::init(argc, argv);
  const std::string query = argc > 1 ? argv[1] : "teapot";
  auto node = std::make_shared<rclcpp::Node>("ovseg_bt_example");
  using ovseg_example::FindObject;
  auto client = rclcpp_action::create_client<FindObject::Action>(node, "/ovseg/find_object");
  client->wait_for_action_server(std::chrono::seconds(10));

  BT::BehaviorTreeFactory factory;
  factory.registerNodeType<FindObject>("FindObject", client);
  auto blackboard = BT::Blackboard::create();
  blackboard->set("query", query);
  auto tree = factory.createTreeFromText(
    R"(<root BTCPP_format="4">
         <BehaviorTree ID="Main">
           <FindObject query="{query}" frame="" timeout="5.0" pose="{pose}" message="{message}"/>
         </BehaviorTree>
       </root>)",
    blackboard);

  auto status = BT::NodeStatus::RUNNING;
  while (rclcpp::ok() && status == BT::NodeStatus::RUNNING) {
    rclcpp::spin_some(node);
    status = tree.tickOnce();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  const bool found = status == BT::NodeStatus::SUCCESS;
  std::printf("%s: %s\n", found ? "SUCCESS" : "FAILURE", blackboard->get<std::string>("message").c_str());
  if (found) {
    const auto pose = blackboard->get<geometry_msgs::msg::PoseStamped>("pose");
    const auto & at = pose.pose.position;
    std::printf("x %.3f, y %.3f, z %.3f m in %s\n", at.x, at.y, at.z, pose.header.frame_id.c_str());
  }
  tree.haltTree();
  rclcpp::shutdown();
  return found ? 0 : 1;
}
