"""The pipeline of TestPeerSoak in Python: rospy, cv_bridge, PyTorch.

Two cameras of 640x480 pixels and the arm's state come in; 20 times a second the
newest images are scaled to 96x96, go through the same keypoint network as
Rapport's, the policy's layers, and a pose goes out. Prints one JSON line.

    python3 soak.py SECONDS
"""

import json
import sys
import threading
import time

import cv2
import numpy as np
import rospy
import torch
from cv_bridge import CvBridge
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import Image, JointState

RATE, SIDE, KEYS = 20.0, 96, 16
PERIOD = 1 / RATE


class Eye(torch.nn.Module):
    """Three 3x3 convolutions (strides 2, 2, 1) and a spatial softmax."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(3, 16, 3, 2, 1), torch.nn.ReLU(),
            torch.nn.Conv2d(16, 32, 3, 2, 1), torch.nn.ReLU(),
            torch.nn.Conv2d(32, KEYS, 3, 1, 1))
        n = SIDE // 4
        at = torch.linspace(-1, 1, n)
        y, x = torch.meshgrid(at, at, indexing="ij")
        self.grid = torch.stack([x.reshape(-1), y.reshape(-1)], 1)

    def forward(self, image):
        heat = self.layers(image).reshape(1, KEYS, -1)
        return (torch.softmax(heat / 0.1, -1) @ self.grid).reshape(1, -1)


class Cell:
    """The newest message."""

    def __init__(self, topic, kind):
        self.lock, self.message = threading.Lock(), None
        rospy.Subscriber(topic, kind, self.take, queue_size=1, buff_size=1 << 24)

    def take(self, message):
        with self.lock:
            self.message = message

    def get(self):
        with self.lock:
            return self.message


def main():
    seconds = float(sys.argv[1])
    torch.manual_seed(1)
    rospy.init_node("soak", disable_signals=True)
    cameras = [Cell("/%s/color/image_raw" % c, Image) for c in ("front", "wrist")]
    # The whole state has a message that Debian does not know; the joints' will do.
    joints = Cell("/franka_state_controller/joint_states", JointState)
    pose = rospy.Publisher("/soak/equilibrium_pose", PoseStamped, queue_size=1)
    bridge = CvBridge()
    eyes = [Eye() for _ in cameras]
    policy = torch.nn.Sequential(
        torch.nn.Linear(2 * 2 * KEYS + 7, 128), torch.nn.ReLU(),
        torch.nn.Linear(128, 128), torch.nn.ReLU(), torch.nn.Linear(128, 4))
    while any(c.get() is None for c in cameras + [joints]):
        time.sleep(0.01)
    lags, missed, seq = [], 0, 0

    def act():
        images = [c.get() for c in cameras]
        stamp = min(m.header.stamp.to_sec() for m in images)
        keys = []
        for m, eye in zip(images, eyes):
            bgr = cv2.resize(bridge.imgmsg_to_cv2(m, "bgr8"), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
            x = torch.from_numpy(bgr).permute(2, 0, 1).unsqueeze(0).float() / 255
            keys.append(eye(x))
        q = torch.tensor(joints.get().position[:7], dtype=torch.float32).unsqueeze(0)
        out = policy(torch.cat(keys + [q], 1))[0].numpy()
        command = PoseStamped()
        command.header.stamp = rospy.Time.now()
        command.pose.position.x = float(np.tanh(out[0]))
        command.pose.orientation.w = 1
        pose.publish(command)
        return time.time() - stamp

    with torch.no_grad():
        for _ in range(20):  # the first passes allocate
            act()
        due = time.time() + PERIOD
        end = time.time() + seconds
        while time.time() < end:
            now = time.time()
            if now > due:
                n = int((now - due) / PERIOD) + 1
                missed += n
                due += n * PERIOD
            time.sleep(max(0.0, due - time.time()))
            due += PERIOD
            lags.append(act())
            seq += 1
    lags.sort()

    def at(p):
        return 1000 * lags[int(p * (len(lags) - 1))]

    print(json.dumps({"p50": at(0.5), "p99": at(0.99), "max": at(1), "missed": missed, "ticks": seq}))


main()
