"""Writes demonstrations as robomimic and LIBERO lay them out.

Usage: /usr/bin/python3 make.py DIR     (Debian's python3-h5py)

Image t of demo d is red 10t+d, green 100, blue 200.
"""
import json
import sys

import h5py
import numpy as np

lengths = [6, 5, 7]


def actions(d, T):
    a = np.zeros((T, 7))
    a[:, 0], a[:, 2], a[:, 5], a[:, 6] = 0.5, -0.1 * d, 0.2, np.where(np.arange(T) % 2, 1, -1)
    return a


def images(d, at):
    img = np.zeros((len(at), 8, 12, 3), np.uint8)
    img[..., 0], img[..., 1], img[..., 2] = (10 * at + d)[:, None, None], 100, 200
    img[:, 0, :, 1] = 50  # the top row
    return img


def poses(at):
    return np.stack([0.4 + 0.01 * at, 0 * at, 0.2 + 0 * at], 1)


def robosuite(path):
    with h5py.File(path, "w") as f:
        data = f.create_group("data")
        data.attrs["total"] = sum(lengths)
        data.attrs["env_args"] = json.dumps({"env_name": "Lift", "env_version": "1.4.1", "type": 1, "env_kwargs": {
            "robots": ["Panda"], "control_freq": 20, "controller_configs": {
                "type": "OSC_POSE", "output_max": [0.05, 0.05, 0.05, 0.5, 0.5, 0.5], "control_delta": True}}})
        for d, T in enumerate(lengths):
            # demo_10 comes after demo_2
            g = data.create_group(f"demo_{[0, 2, 10][d]}")
            g.attrs["num_samples"] = T
            g.create_dataset("actions", data=actions(d, T))
            g.create_dataset("rewards", data=np.eye(T)[T - 1])
            g.create_dataset("dones", data=(np.arange(T) == T - 1).astype(np.int64))
            g.create_dataset("states", data=np.zeros((T, 4)))
            for name, at in ("obs", np.arange(T)), ("next_obs", np.arange(T) + 1):
                o = g.create_group(name)
                o.create_dataset("robot0_eef_pos", data=poses(at))
                o.create_dataset("robot0_eef_quat", data=np.tile([0, 1.0, 0, 0], (T, 1)))  # xyzw: about y
                o.create_dataset("robot0_gripper_qpos", data=np.tile([0.03, -0.03], (T, 1)), compression="gzip", shuffle=True)
                o.create_dataset("robot0_joint_pos", data=np.tile(np.arange(7) / 10, (T, 1)).astype(np.float32))
                o.create_dataset("agentview_image", data=images(d, at), compression="gzip", chunks=(2, 8, 12, 3))
        f.create_dataset("mask/train", data=np.array(["demo_0", "demo_10"], dtype="S"))
        f.create_dataset("mask/valid", data=np.array(["demo_2"], dtype="S"))


def libero(path):
    with h5py.File(path, "w", libver="latest") as f:
        for d, T in enumerate(lengths[:2]):
            g = f.create_group(f"data/demo_{d}")
            at = np.arange(T)
            g.create_dataset("actions", data=actions(d, T))
            g.create_dataset("dones", data=(at == T - 1).astype(np.uint8))
            o = g.create_group("obs")
            o.create_dataset("ee_pos", data=poses(at))
            o.create_dataset("ee_ori", data=np.tile([0, np.pi / 2, 0], (T, 1)))
            o.create_dataset("joint_states", data=np.zeros((T, 7)))
            o.create_dataset("gripper_states", data=np.tile([0.02, -0.02], (T, 1)))
            o.create_dataset("agentview_rgb", data=images(d, at).transpose(0, 3, 1, 2).astype(np.float32) / 255)
            o.create_dataset("depth", data=np.zeros((T, 8, 12, 1), np.float32))


robosuite(sys.argv[1] + "/robosuite.hdf5")
libero(sys.argv[1] + "/libero.hdf5")
