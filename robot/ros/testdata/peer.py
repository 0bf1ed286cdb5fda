"""The other side of the tests: a rospy node that does one thing.

Usage: peer.py WHAT [ARGUMENT...]; it prints a line for everything that a test
waits for, and ends with its standard input.
"""

import io
import os
import sys
import threading
import time

import actionlib
import actionlib.msg
import genpy.dynamic
import rosgraph_msgs.msg
import rospy
import std_msgs.msg
import std_srvs.srv
from sensor_msgs.msg import Image


def say(*words):
    # One write: print alone writes a line and its end apart, and callbacks come on other threads.
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def image(n, fill):
    m = Image(height=1, width=n, encoding="mono8", step=n, data=bytes([fill]) * n)
    m.header.stamp = rospy.Time.now()
    m.header.frame_id = "a&<b é"
    return m


def publish(topic, kind, hz, *args):
    """Publishes texts or images, counted, at a rate."""
    make = {
        "text": (std_msgs.msg.String, lambda i: std_msgs.msg.String("%s %d" % (args[0], i))),
        "image": (Image, lambda i: image(int(args[0]), i % 256)),
    }[kind]
    pub = rospy.Publisher(topic, make[0], queue_size=1)
    say("ready")
    rate = rospy.Rate(float(hz))
    i = 0
    while not rospy.is_shutdown():
        pub.publish(make[1](i))
        i += 1
        rate.sleep()


def subscribe(topic, kind):
    """Says what comes."""

    def text(m):
        say("got", m.data)

    def pixels(m):
        say("got", len(m.data), m.data[0], m.data == m.data[:1] * len(m.data), m.header.frame_id)

    rospy.Subscriber(topic, *{"text": (std_msgs.msg.String, text), "image": (Image, pixels)}[kind])
    say("ready")


def hear_log(who):
    """Says what a node logs, by the beginning of its name."""

    def log(m):
        if m.name.startswith(who):
            topics = ",".join(t for t in m.topics if t != "/rosout")
            where = m.file.endswith(".go") and m.line > 0 and m.function != ""
            say("log", m.level, m.header.stamp.secs > 0, where, topics, m.msg)

    rospy.Subscriber("/rosout", rosgraph_msgs.msg.Log, log)
    say("ready")


def serve(name, seconds):
    """Serves SetBool slowly: refuses False."""

    def do(req):
        say("called", req.data)
        time.sleep(float(seconds))
        if not req.data:
            raise rospy.ServiceException("never off: <&")
        return std_srvs.srv.SetBoolResponse(True, "on")

    rospy.Service(name, std_srvs.srv.SetBool, do)
    say("ready")


def call(name, data):
    rospy.wait_for_service(name)
    try:
        r = rospy.ServiceProxy(name, std_srvs.srv.SetBool)(data == "true")
        say("answer", r.success, r.message)
    except rospy.ServiceException as e:
        say("refused", e)


def act_serve(name):
    """Adds two numbers; negative ones are an error, large ones take for ever."""

    def do(goal):
        server.publish_feedback(actionlib.msg.TwoIntsFeedback())
        time.sleep(0.5)  # feedback and result take different ways, and the later one may be first
        while goal.a > 100 and not server.is_preempt_requested():
            time.sleep(0.02)
        result = actionlib.msg.TwoIntsResult(goal.a + goal.b)
        if goal.a > 100:
            server.set_preempted(result, "told to end")
        elif goal.a < 0:
            server.set_aborted(result, "negative")
        else:
            server.set_succeeded(result, "added")

    server = actionlib.SimpleActionServer(name, actionlib.msg.TwoIntsAction, do, False)
    server.start()
    say("ready")


def act_call(name, a, b, cancel):
    client = actionlib.SimpleActionClient(name, actionlib.msg.TwoIntsAction)
    client.wait_for_server()
    say("ready")
    client.send_goal(
        actionlib.msg.TwoIntsGoal(int(a), int(b)), feedback_cb=lambda f: say("feedback")
    )
    say("sent")
    if cancel == "true":
        time.sleep(0.5)
        client.cancel_goal()
    client.wait_for_result()
    result = client.get_result()
    say("ended", client.get_state(), client.get_goal_status_text() or "-", result.sum)


def kinds(path):
    """Reads messages by the definitions that came with them, as bags do."""
    for line in open(path):
        kind, definition, payload = (bytes.fromhex(x) for x in line.split(","))
        cls = genpy.dynamic.generate_dynamic(kind.decode(), definition.decode())[kind.decode()]
        again = io.BytesIO()
        cls().deserialize(payload).serialize(again)
        say("kind", kind.decode(), cls._md5sum, again.getvalue() == payload)


def params():
    say("params", rospy.get_param("/p"))
    rospy.set_param("/q", {"list": [1, 2.5, "x"], "deep": {"on": True, "text": "a&<b é"}})
    say("found", rospy.search_param("p"), rospy.has_param("/none"), rospy.has_param("/p"))
    say("cached", rospy.get_param_cached("/p/n"))
    while rospy.get_param_cached("/p/n") == 3:
        time.sleep(0.02)
    say("cached", rospy.get_param_cached("/p/n"))


def main():
    rospy.init_node("peer", anonymous=True, disable_signals=True)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    globals()[sys.argv[1]](*sys.argv[2:])
    rospy.spin()


main()
