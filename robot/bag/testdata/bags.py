"""Writes bags with Debian's python3-rosbag, and says what is in them as that
reads it: for every topic and type, how many messages there are and the SHA-256 of
their stamps and bytes in the order of time. Usage: bags.py FOLDER, or
bags.py --read FILE"""
import hashlib, json, os, random, shutil, struct, sys

import genpy, rosbag, roslib.message
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Float64, String


def stamp(ns):
    return genpy.Time(ns // 10**9, ns % 10**9)


def messages(n, seed, shuffle=0):
    """n ticks of 10 ms: joints, a pose, now and then a picture."""
    r = random.Random(seed)
    out = []
    for i in range(n):
        t = 1_700_000_000_000_000_000 + i * 10_000_000 + r.randrange(1000)
        j = JointState()
        j.header.stamp, j.header.seq, j.header.frame_id = stamp(t), i, "base"
        j.name = ["panda_joint%d" % (k + 1) for k in range(7)]
        j.position = [r.gauss(0, 1) for _ in range(7)]
        j.velocity = [r.gauss(0, 1) for _ in range(7)]
        out.append(("/joint_states", j, t))
        p = PoseStamped()
        p.header.stamp = stamp(t)
        p.pose.position.x, p.pose.orientation.w = r.random(), 1
        out.append(("/equilibrium_pose", p, t + 1))
        if i % 5 == 0:
            m = Image()
            m.header.stamp, m.height, m.width, m.encoding, m.step = stamp(t), 16, 24, "rgb8", 72
            m.data = bytes(r.randrange(64) for _ in range(16 * 72))
            out.append(("/camera/color/image_raw", m, t + 2))
        if i % 7 == 0:
            c = CompressedImage()
            c.header.stamp, c.format, c.data = stamp(t), "jpeg", bytes(r.randrange(256) for _ in range(900))
            out.append(("/wrist/image/compressed", c, t + 3))
        # Two types on one topic.
        out.append(("/chatter", String("tick %d" % i) if i < n // 2 else Float64(i), t + 4))
    if shuffle:
        for k in range(0, len(out) - shuffle, shuffle):
            part = out[k:k + shuffle]
            r.shuffle(part)
            out[k:k + shuffle] = part
    return out


def write(path, msgs, compression, chunk):
    with rosbag.Bag(path, "w", compression=compression, chunk_threshold=chunk) as b:
        put(b, msgs)


def put(b, msgs):
    types = {}
    for topic, m, t in msgs:
        # Without this the second type of a topic is written as the first.
        if types.setdefault(topic, m._type) != m._type:
            types[topic] = m._type
            b._topic_connections.pop(topic)
        b.write(topic, m, stamp(t))


def crash(path, msgs, compression, chunk):
    """What a recorder that is killed leaves behind."""
    b = rosbag.Bag(path + ".whole", "w", compression=compression, chunk_threshold=chunk)
    put(b, msgs)
    b._file.flush()
    shutil.copy(path + ".whole", path)
    b.close()


def contents(path):
    topics = {}
    with rosbag.Bag(path) as b:
        # rosbag's order is that of the chunks where those are not sorted.
        for topic, raw, t in sorted(b.read_messages(raw=True), key=lambda m: m[2]):
            h = topics.setdefault(topic + " " + raw[0], [0, hashlib.sha256(), raw[2]])
            h[0] += 1
            h[1].update(struct.pack("<qI", t.to_nsec(), len(raw[1])) + raw[1])
    return {k: {"count": n, "sha256": h.hexdigest(), "md5": md5} for k, (n, h, md5) in topics.items()}


def filled(cls, r, depth=0):
    """A message of random content."""
    m = cls()
    for name, typ in zip(m.__slots__, m._slot_types):
        setattr(m, name, value(typ, r, depth))
    return m


def value(typ, r, depth):
    if typ.endswith("]"):
        base, n = typ[:-1].split("[")
        n = int(n) if n else r.randrange(4)
        if base in ("uint8", "char"):
            return bytes(r.randrange(256) for _ in range(n))
        return [value(base, r, depth + 1) for _ in range(n)]
    if typ in ("int8", "byte"):
        return r.randrange(-128, 128)
    if typ in ("uint8", "char"):
        return r.randrange(256)
    if typ.startswith("int"):
        bits = int(typ[3:])
        return r.randrange(-(2 ** (bits - 1)), 2 ** (bits - 1))
    if typ.startswith("uint"):
        return r.randrange(2 ** int(typ[4:]))
    if typ == "bool":
        return bool(r.randrange(2))
    if typ == "float32":
        return struct.unpack("<f", struct.pack("<f", r.gauss(0, 1)))[0]
    if typ == "float64":
        return r.gauss(0, 1)
    if typ == "string":
        return "".join(r.choice("abc \u00e4\u4e16") for _ in range(r.randrange(9)))
    if typ == "time":
        return genpy.Time(r.randrange(2**32), r.randrange(10**9))
    if typ == "duration":
        return genpy.Duration(r.randrange(-(2**31), 2**31), r.randrange(10**9))
    return filled(roslib.message.get_message_class("std_msgs/Header" if typ == "Header" else typ), r, depth + 1)


def plain(v):
    """A message as JSON: bytes in hex, times in nanoseconds."""
    if isinstance(v, genpy.Message):
        return {n: plain(getattr(v, n)) for n in v.__slots__}
    if isinstance(v, (genpy.Time, genpy.Duration)):
        return str(v.to_nsec())
    if isinstance(v, bytes):
        return v.hex()
    if isinstance(v, (list, tuple)):
        return [plain(x) for x in v]
    if isinstance(v, float):
        return struct.pack("<d", v).hex()
    if isinstance(v, bool) or isinstance(v, str):
        return v
    return str(v)


TYPES = """actionlib_msgs/GoalStatusArray geometry_msgs/PoseArray geometry_msgs/PolygonStamped geometry_msgs/TransformStamped
geometry_msgs/PoseWithCovarianceStamped move_base_msgs/MoveBaseActionFeedback rosgraph_msgs/Clock rosgraph_msgs/Log
rosgraph_msgs/TopicStatistics sensor_msgs/BatteryState sensor_msgs/CameraInfo sensor_msgs/Imu sensor_msgs/JointState
sensor_msgs/Joy sensor_msgs/LaserScan sensor_msgs/MultiDOFJointState sensor_msgs/MultiEchoLaserScan sensor_msgs/NavSatFix
sensor_msgs/PointCloud sensor_msgs/PointCloud2 sensor_msgs/Image std_msgs/ByteMultiArray std_msgs/Char std_msgs/ColorRGBA
std_msgs/Duration std_msgs/Empty std_msgs/Float32MultiArray std_msgs/Int64MultiArray std_msgs/UInt64 std_msgs/UInt8MultiArray
std_msgs/Time""".split()


def types(folder):
    """One topic of every type, with random messages, and their fields."""
    r, said = random.Random(5), []
    with rosbag.Bag(os.path.join(folder, "types.bag"), "w", compression="lz4") as b:
        t = 1
        for typ in TYPES:
            for _ in range(5):
                m = filled(roslib.message.get_message_class(typ), r)
                b.write("/" + typ, m, genpy.Time(t))
                said.append({"type": typ, "md5": m._md5sum, "fields": plain(m)})
                t += 1
    json.dump(said, open(os.path.join(folder, "types.json"), "w"))


def main(folder):
    said = {}
    types(folder)
    for compression in ("none", "lz4", "bz2"):
        for name, chunk, shuffle in (("", 768 * 1024, 0), ("-small", 5000, 0), ("-unsorted", 5000, 97)):
            path = os.path.join(folder, compression + name + ".bag")
            # Shuffled, the types of a topic alternate: each change is a connection.
            write(path, messages(200, 1, shuffle), compression, chunk)
            said[os.path.basename(path)] = contents(path)
        path = os.path.join(folder, compression + "-crashed.bag.active")
        crash(path, messages(200, 2), compression, 40000)
        said[os.path.basename(path) + " whole"] = contents(path + ".whole")
        copy = path + ".reindexed.bag"
        shutil.copy(path, copy)
        with rosbag.Bag(copy, "a", allow_unindexed=True) as b:
            for _ in b.reindex():
                pass
        said[os.path.basename(path)] = contents(copy)
    path = os.path.join(folder, "empty.bag")
    write(path, [], "none", 768 * 1024)
    said["empty.bag"] = {}
    json.dump(said, sys.stdout)


if sys.argv[1] == "--read":
    json.dump(contents(sys.argv[2]), sys.stdout)
else:
    main(sys.argv[1])
