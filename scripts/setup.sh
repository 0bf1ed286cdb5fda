#!/usr/bin/env bash
# Installs the Debian packages that Rapport builds and runs with, where they
# are missing. Usage: scripts/setup.sh [run|test|peers|soak]   (default: run)
set -euo pipefail

# libopencv-dev, libjpeg62-turbo-dev: perception/vision, with libopencv-contrib-dev for ArUco markers; libmujoco-dev: sim/mujoco; libegl1, libgl1
# and libgl1-mesa-dri: rendering without a display; libdnnl-dev: oneDNN, for learning.
packages=(g++ pkg-config libopencv-dev libopencv-contrib-dev libjpeg62-turbo-dev libmujoco-dev libegl-dev libegl1 libgl1 libgl1-mesa-dri libdnnl-dev)
# The peers that `make peers` and `make bench` compare with; python3-onnx has the
# checker of exported networks.
if [ "${1:-run}" = peers ]; then
	packages+=(python3 python3-numpy python3-torch python3-pot python3-opencv python3-h5py python3-onnx)
	packages+=(iproute2) # ip and tc, which slow a network down
	packages+=(gcc libchipmunk-dev) # Chipmunk in C, the peer of sim/xmagical
fi
# The peers of the tests: the browser in which they open the dashboard, and ROS 1: a
# master and its tools, rospy, and the messages of topics, services, actions and
# bags in Python; rosout is a node in C++.
if [ "${1:-run}" = test ]; then
	packages+=(chromium)
	packages+=(python3 python3-rospy python3-rosmaster python3-roslaunch rosout python3-rostopic python3-rosnode python3-rosparam python3-rosservice)
	packages+=(python3-rosbag python3-actionlib python3-std-msgs python3-geometry-msgs python3-sensor-msgs python3-std-srvs)
fi
# The pipeline in Python that make soak compares with.
if [ "${1:-run}" = soak ] || [ "${1:-run}" = peers ]; then
	packages+=(python3-rospy python3-cv-bridge python3-opencv python3-torch python3-sensor-msgs python3-geometry-msgs)
fi

missing=()
for p in "${packages[@]}"; do
	dpkg-query -W -f '${db:Status-Abbrev}' "$p" 2>/dev/null | grep -q '^ii' || missing+=("$p")
done
[ ${#missing[@]} -eq 0 ] && exit 0

command -v apt-get >/dev/null || {
	echo "setup: this is not a Debian system; install by hand: ${missing[*]}" >&2
	exit 1
}
root=()
if [ "$(id -u)" -ne 0 ]; then
	command -v sudo >/dev/null || {
		echo "setup: not root and no sudo; as root run: apt-get install ${missing[*]}" >&2
		exit 1
	}
	root=(sudo)
fi
echo "setup: installing ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# dpkg says that it lacks a terminal in many lines; the log is shown only if it fails.
if ! { "${root[@]}" apt-get update -q && "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
	apt-get install -yq --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
	tail -n 30 "$log" >&2
	echo "setup: apt-get failed; mend what it names above and run this again" >&2
	exit 1
fi
