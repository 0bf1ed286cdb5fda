#!/usr/bin/env bash
# Measures against the peers in the same run and prints a table of ratios.
# They count processor time, so that other processes on the machine matter
# little; reading bags, which takes several cores, is timed by the clock too.
set -euo pipefail
log=$(mktemp)
trap 'rm -f "$log"' EXIT

run() { # package, benchmarks, further arguments
	go test -tags peers -run '^$' -bench "$2" "${@:3}" "$1" | tee -a "$log"
}
export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 # the peers run on one thread

run ./sim/tabletop '^BenchmarkAgainstC$' -benchtime 3x
run ./sim/tabletop '^BenchmarkAgainstReplay$' -benchtime 41x
run ./sim/xmagical '^BenchmarkPeerChipmunk$' -benchtime 3x
run ./reward/ot '^BenchmarkPeerPOT$'
run ./reward/ot '^BenchmarkPeerTorchGradient$'
run ./reward/rapl '^BenchmarkAlign$' -benchtime 1x
run ./perception/vision '^BenchmarkPeerOpenCV$'
run ./perception/keypoint '^BenchmarkTrack$' -benchtime 500x
run ./internal/nn '^BenchmarkPeerTorch$'
run ./policy/rlpd '^BenchmarkPeerTorch$'
run ./policy/rlpd '^BenchmarkActorBesideLearner$' -benchtime 3x
run ./policy/diffusion '^BenchmarkPeerUNet$'
run ./policy/sample '^BenchmarkTick$' -benchtime 50x
run ./internal/nn/onnx '^BenchmarkPeerBackbones$' -benchtime 2x
run ./robot/bag '^BenchmarkPeerRosbag$' -benchtime 2x
run ./internal/bus '^(BenchmarkExtract2x96x96|BenchmarkScore46x64|BenchmarkAct)$' -benchtime 1s

awk '
function metric(unit,   i) {
	for (i = 3; i < NF; i += 2) if ($(i + 1) == unit) return $i
	return -1
}
function row(what, ours, peer, ratio, target, met) {
	printf "%-55s %10s %15s %7s  %-10s %s\n", what, ours, peer, ratio, target, met
}
function yes(ok) { return ok ? "met" : "NOT MET" }
/^pkg:/ { pkg = $2 }
/^Benchmark/ { name = $1; sub(/-[0-9]+$/, "", name) }
/^BenchmarkAgainstC/ { go = metric("Go-steps/s"); c = metric("C-steps/s"); gc = metric("Go/C") }
/^BenchmarkAgainstReplay\// { split(name, p, "/"); env[p[2]] = metric("cpu/s"); envc[p[2]] = metric("C-cpu/s"); envr[p[2]] = metric("Go/C") }
/^BenchmarkPeerChipmunk\// { split(name, p, "/"); flat[p[2]] = metric("Go-steps/s"); flatc[p[2]] = metric("C-steps/s"); flatr[p[2]] = metric("Go/C") }
/^BenchmarkPeerPOT/ {
	r = metric("pot-ratio"); if (r < 0) next
	size = name ~ /300x300/ ? 300 : 45
	d = metric("plans-ppb") / 1e9; if (d > apart) apart = d
	if (!(size in worst) || r < worst[size]) { worst[size] = r; o[size] = metric("ours-µs"); t[size] = metric("pot-µs") }
}
/^BenchmarkPeerTorchGradient\// {
	size = name ~ /300x300/ ? 300 : 45
	r = metric("torch-ratio"); ru = metric("unrolled-ratio")
	if (!(size in gr) || r < gr[size]) { gr[size] = r; go_[size] = metric("ours-µs"); gt[size] = metric("torch-µs") }
	if (!(size in gu) || ru < gu[size]) gu[size] = ru
}
/^BenchmarkAlign/ { seconds = metric("ns/op") / 1e9 }
/^BenchmarkPeerOpenCV\// { split(name, p, "/"); fps[p[2]] = metric("frames/s"); py[p[2]] = metric("python/s"); faster[p[2]] = metric("python-ratio") }
/^BenchmarkTrack/ { track = metric("ours-ms"); lk = metric("flow-ms"); trackr = metric("ours/flow") }
/^BenchmarkPeer(Torch|UNet|Backbones)\// { split(name, p, "/"); nn[p[2]] = metric("ours-ms"); torch[p[2]] = metric("torch-ms"); faster[p[2]] = metric("torch-ratio") }
/^BenchmarkPeerTorch(-[0-9]+)?[ \t]/ && pkg ~ /rlpd$/ { nn["pixels"] = metric("ours-ms"); torch["pixels"] = metric("torch-ms"); faster["pixels"] = metric("torch-ratio") }
/^BenchmarkPeerRosbag\// { split(name, p, "/"); bag[p[2]] = metric("ours-ms"); ros[p[2]] = metric("torch-ms"); ahead[p[2]] = metric("torch-ratio"); bagw[p[2]] = metric("ours-wall-ms"); rosw[p[2]] = metric("torch-wall-ms"); quick[p[2]] = metric("wall-ratio") }
/^BenchmarkTick\// { split(name, p, "/"); tick[p[2] " " p[3]] = metric("ns/op") / 1e6 }
/^BenchmarkActorBesideLearner/ { missed = metric("missed-ticks"); worst_late = metric("worst-ms"); next }
/^Benchmark(Extract|Score|Act)/ && name !~ /Against/ {
	split(name, p, "/"); trips[p[1], p[2]] = metric("trips/cpu-s")
}
END {
	printf "\n"
	row("what", "ours", "peer", "ratio", "target", "")
	row("physics of Group, steps per CPU-second", sprintf("%.0f", go), sprintf("C %.0f", c), sprintf("%.2f", gc), ">= 0.95", yes(gc >= 0.95))
	# A policy step is 25 steps of the physics. Ours has the controller between
	# them and an observation after them; C takes the same steps from a tape.
	row("Group without pixels, policy steps per CPU-s", sprintf("%.0f", env["none"]), sprintf("C %.0f", envc["none"]), sprintf("%.2f", envr["none"]), "", "")
	for (e in flat)
		row("xmagical, " e ", policy steps per CPU-second", sprintf("%.0f", flat[e]), sprintf("C %.0f", flatc[e]), sprintf("%.2f", flatr[e]), "", "")
	px = env["egl-2x96"]
	row("Group with 2x96x96 pixels, the same", sprintf("%.0f", px), sprintf("C %.0f", envc["egl-2x96"]), sprintf("%.2f", envr["egl-2x96"]), ">= 250 /s", yes(px >= 250))
	for (size = 45; size <= 300; size += 255)
		row(sprintf("Sinkhorn %dx%d, batch of 6, slowest ratio, CPU-us", size, size), sprintf("%.0f", o[size]), sprintf("POT %.0f", t[size]), sprintf("%.1f", worst[size]), ">= 10", yes(worst[size] >= 10))
	row("the same, largest difference of the plans", sprintf("%.1e", apart), "", "", "<= 1e-6", yes(apart <= 1e-6))
	for (size = 45; size <= 300; size += 255) {
		row(sprintf("Sinkhorn and its gradient %dx%d, batch of 6, slowest ratio", size, size), sprintf("%.0f", go_[size]), sprintf("PyTorch %.0f", gt[size]), sprintf("%.1f", gr[size]), ">= 5", yes(gr[size] >= 5))
		row("the same, through as many sweeps", "", "", sprintf("%.1f", gu[size]), ">= 5", yes(gu[size] >= 5))
	}
	row("aligning with 150 triplets of 45 frames, seconds", sprintf("%.1f", seconds), "", "", "<= 120", yes(seconds > 0 && seconds <= 120))
	row("640x480 JPEG to judged 96x96, frames per CPU-s", sprintf("%.0f", fps["encoded"]), sprintf("Python %.0f", py["encoded"]), sprintf("%.2f", faster["encoded"]), "", "")
	row("640x480 BGR to 96x96, frames per CPU-s", sprintf("%.0f", fps["frame"]), sprintf("Python %.0f", py["frame"]), sprintf("%.2f", faster["frame"]), "", "")
	# Looks, colours and search beside the flow alone.
	row("tracking 6 points in 160x120, ms of CPU a frame", sprintf("%.2f", track), sprintf("LK %.2f", lk), sprintf("%.1f", trackr), "", "")
	row("ten critics, batch 256, training step, CPU-ms", sprintf("%.1f", nn["critics"]), sprintf("PyTorch %.1f", torch["critics"]), sprintf("%.2f", faster["critics"]), ">= 1", yes(faster["critics"] >= 1))
	row("soft actor-critic from pixels, batch 64, step, CPU-ms", sprintf("%.0f", nn["pixels"]), sprintf("PyTorch %.0f", torch["pixels"]), sprintf("%.2f", faster["pixels"]), ">= 1", yes(faster["pixels"] >= 1))
	row("pixel encoder, batch 64, training step, CPU-ms", sprintf("%.0f", nn["encoder"]), sprintf("PyTorch %.0f", torch["encoder"]), sprintf("%.2f", faster["encoder"]), "", "")
	row("U-Net over chunks, batch 64, training step, CPU-ms", sprintf("%.0f", nn["train"]), sprintf("PyTorch %.0f", torch["train"]), sprintf("%.2f", faster["train"]), ">= 1.0", yes(faster["train"] >= 1))
	row("the same, a chunk in 16 steps of DDIM, CPU-ms", sprintf("%.1f", nn["draw"]), sprintf("PyTorch %.1f", torch["draw"]), sprintf("%.2f", faster["draw"]), ">= 2.0", yes(faster["draw"] >= 2))
	searches = split("unet best-4,unet fk-4,unet guided,mlp best-4,mlp fk-4,mlp guided", search, ",")
	for (i = 1; i <= searches; i++) {
		split(search[i], on, " ")
		row("a chunk searched for, " search[i] ", ms", sprintf("%.1f", tick[search[i]]), sprintf("plain %.1f", tick[on[1] " plain"]), sprintf("%.2f", tick[search[i]] > 0 ? tick[on[1] " plain"] / tick[search[i]] : -1), "", "")
	}
	row("acting at 20 Hz beside a learner: missed of 100 ticks", sprintf("%d", missed), sprintf("worst %.0f ms", worst_late), "", "0", yes(missed == 0))
	row("ResNet-18 of 128x128, batch 16, step, CPU-ms", sprintf("%.0f", nn["trained"]), sprintf("PyTorch %.0f", torch["trained"]), sprintf("%.2f", faster["trained"]), ">= 1", yes(faster["trained"] >= 1))
	row("the same, batch norms joined", sprintf("%.0f", nn["frozen"]), sprintf("PyTorch %.0f", torch["frozen"]), sprintf("%.2f", faster["frozen"]), ">= 1", yes(faster["frozen"] >= 1))
	row("four blocks of ViT-S/16 of 96x96, the same", sprintf("%.0f", nn["vit"]), sprintf("PyTorch %.0f", torch["vit"]), sprintf("%.2f", faster["vit"]), "", "")
	n = split("joints-none joints-lz4 joints-bz2 images-none images-lz4 images-bz2", file, " ")
	for (i = 1; i <= n; i++) {
		f = file[i]
		row("bag " f ", raw, CPU-ms", sprintf("%.1f", bag["raw-" f]), sprintf("rosbag %.1f", ros["raw-" f]), sprintf("%.2f", ahead["raw-" f]), ">= 1", yes(ahead["raw-" f] >= 1))
		row("the same, by the clock", sprintf("%.1f", bagw["raw-" f]), sprintf("rosbag %.1f", rosw["raw-" f]), sprintf("%.2f", quick["raw-" f]), ">= 1", yes(quick["raw-" f] >= 1))
		row("the same, decoded, CPU-ms", sprintf("%.1f", bag["decoded-" f]), sprintf("rosbag %.1f", ros["decoded-" f]), sprintf("%.2f", ahead["decoded-" f]), "", "")
		row("the same, decoded, by the clock", sprintf("%.1f", bagw["decoded-" f]), sprintf("rosbag %.1f", rosw["decoded-" f]), sprintf("%.2f", quick["decoded-" f]), ">= 5", yes(quick["decoded-" f] >= 5))
	}
	n = split("BenchmarkExtract2x96x96 BenchmarkScore46x64 BenchmarkAct", call, " ")
	for (i = 1; i <= n; i++) {
		what = call[i]; sub(/^Benchmark/, "", what)
		o1 = trips[call[i], "tcp"]; raw = trips[call[i], "raw-nats-tcp"]
		row("bus: " what " over TCP, round trips per CPU-s", sprintf("%.0f", o1), sprintf("raw NATS %.0f", raw), sprintf("%.2f", o1 / raw), "", "")
	}
}' "$log"
