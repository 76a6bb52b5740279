// A node for BehaviorTree.CPP 4 that finds something by name through ovseg's action ~/find_object.
//
//   <FindObject query="the mug left of the teapot" frame="base_link" timeout="5.0" pose="{mug}" message="{why}"/>
//
// SUCCESS: it is there, and `pose` is that of the upright box around it, in `frame`. FAILURE: it is not, or that could
// not be told; `message` says why. Halting cancels the search. Whoever ticks also spins the ROS node, on any thread.
#pragma once

#include <chrono>
#include <future>
#include <memory>
#include <string>

#include "behaviortree_cpp/bt_factory.h"
#include "geometry_msgs/msg/pose_stamped.hpp"
#include "ovseg_ros/action/find_object.hpp"
#include "ovseg_ros/msg/result_code.hpp"
#include "rclcpp/rclcpp.hpp"
#include "rclcpp_action/rclcpp_action.hpp"

namespace ovseg_example
{

class FindObject : public BT::StatefulActionNode
{
public:
  using Action = ovseg_ros::action::FindObject;
  using Client = rclcpp_action::Client<Action>;
  using Handle = rclcpp_action::ClientGoalHandle<Action>;

  FindObject(const std::string & name, const BT::NodeConfig & config, const std::shared_ptr<Client> & client)
  : BT::StatefulActionNode(name, config), client_(client)
  {
  }

  static BT::PortsList providedPorts()
  {
    return {
      BT::InputPort<std::string>("query", "what to find: \"the mug left of the teapot\""),
      BT::InputPort<std::string>("frame", "base_link", "frame of the pose; empty: the camera's"),
      BT::InputPort<double>("timeout", 5.0, "seconds to look for it"),
      BT::OutputPort<geometry_msgs::msg::PoseStamped>("pose"),
      BT::OutputPort<std::string>("message"),
    };
  }

  BT::NodeStatus onStart() override
  {
    accepted_ = {};
    ended_ = {};
    if (!client_->action_server_is_ready()) {
      return fail("the ovseg node is not there");
    }
    const double seconds = getInput<double>("timeout").value();
    Action::Goal goal;
    goal.query = getInput<std::string>("query").value();
    goal.target_frame = getInput<std::string>("frame").value();
    goal.want_3d = true;
    goal.max_results = 1;
    goal.timeout = rclcpp::Duration::from_seconds(seconds);
    deadline_ = Clock::now() + std::chrono::duration_cast<Clock::duration>(
      std::chrono::duration<double>(seconds) + kPatience);
    accepted_ = client_->async_send_goal(goal);
    return BT::NodeStatus::RUNNING;
  }

  BT::NodeStatus onRunning() override
  {
    if (Clock::now() > deadline_) {
      onHalted();
      return fail("the ovseg node does not answer");
    }
    if (!ended_.valid()) {
      if (!ready(accepted_)) {
        return BT::NodeStatus::RUNNING;
      }
      if (!accepted_.get()) {
        return fail("the ovseg node did not accept the search");
      }
      ended_ = client_->async_get_result(accepted_.get());
    }
    return ready(ended_) ? answer(*ended_.get().result) : BT::NodeStatus::RUNNING;
  }

  void onHalted() override
  {
    if (accepted_.valid() && ready(accepted_) && accepted_.get() && !(ended_.valid() && ready(ended_))) {
      try {
        client_->async_cancel_goal(accepted_.get());
      } catch (const rclcpp_action::exceptions::UnknownGoalHandleError &) {  // it has just ended
      }
    }
  }

private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::seconds kPatience{10};

  template<typename Future>
  static bool ready(const Future & future)
  {
    return future.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  }

  BT::NodeStatus fail(const std::string & why)
  {
    setOutput("message", why);
    return BT::NodeStatus::FAILURE;
  }

  BT::NodeStatus answer(const Action::Result & result)
  {
    const std::string frame = getInput<std::string>("frame").value();
    if (result.code != ovseg_ros::msg::ResultCode::FOUND) {
      return fail(result.message);
    }
    if (!frame.empty() && result.frame_id_3d != frame) {  // TF does not lead there: the message says why
      return fail(result.message);
    }
    geometry_msgs::msg::PoseStamped pose;
    pose.header.stamp = result.header.stamp;
    pose.header.frame_id = result.frame_id_3d;
    pose.pose = result.segments.front().pose;
    setOutput("pose", pose);
    setOutput("message", result.message);
    return BT::NodeStatus::SUCCESS;
  }

  std::shared_ptr<Client> client_;
  std::shared_future<Handle::SharedPtr> accepted_;
  std::shared_future<Handle::WrappedResult> ended_;
  Clock::time_point deadline_;
};

}  // namespace ovseg_example
