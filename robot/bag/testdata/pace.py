"""Reads bags with Debian's python3-rosbag beside ours. pace.py FOLDER writes the
bags, says "ready", and then answers "raw NAME" or "decoded NAME" with the nanoseconds
of processor time that reading all messages took."""
import os, random, sys, time

import genpy, rosbag
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import Image, JointState

folder = sys.argv[1]


def joints(b):
    """100 s of an arm without pictures: joints at 100 Hz, a pose at 20 Hz."""
    r = random.Random(1)
    for i in range(10000):
        t = genpy.Time(1000 + i // 100, i % 100 * 10000000 + 1)
        m = JointState()
        m.header.stamp, m.header.frame_id = t, "base"
        m.name = ["panda_joint%d" % (k + 1) for k in range(7)]
        m.position, m.velocity, m.effort = [[r.gauss(0, 1) for _ in range(7)] for _ in range(3)]
        b.write("/joint_states", m, t)
        if i % 5 == 0:
            p = PoseStamped()
            p.header.stamp = t
            p.pose.position.x, p.pose.orientation.w = r.random(), 1
            b.write("/equilibrium_pose", p, t)


def images(n):
    """n pictures of 640x480, smooth with noise in the two lowest bits."""
    def write(b):
        r = random.Random(2)
        row = bytes((x // 3 & 0xFC) | r.randrange(4) for x in range(1920))
        for i in range(n):
            m = Image()
            m.height, m.width, m.encoding, m.step = 480, 640, "rgb8", 1920
            rows = []
            for y in range(480):
                k = r.randrange(1920)
                rows.append(row[k:] + row[:k])
            m.data = b"".join(rows)
            t = genpy.Time(1000 + i // 30, i % 30 * 30000000 + 1)
            m.header.stamp = t
            b.write("/camera/color/image_raw", m, t)
    return write


for compression in ("none", "lz4", "bz2"):
    for name, fill in (("joints", joints), ("images", images(5 if compression == "bz2" else 40))):
        with rosbag.Bag(os.path.join(folder, name + "-" + compression + ".bag"), "w", compression=compression) as b:
            fill(b)
print("ready", flush=True)
for line in sys.stdin:
    how, name = line.split()
    start = time.process_time_ns()
    with rosbag.Bag(os.path.join(folder, name + ".bag")) as b:
        for _ in b.read_messages(raw=how == "raw"):
            pass
    print(time.process_time_ns() - start, flush=True)
