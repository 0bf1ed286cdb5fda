# `make run` and `make test` need a Debian 12 machine with Go, git, make and
# apt, and do the rest of the set-up themselves.
SHELL := /bin/bash
FUZZ ?= 2

# As by default, but for -g, a third of the time that compiling OpenCV's bindings takes, of which every way of building has its own.
export CGO_CFLAGS ?= -O2
export CGO_CXXFLAGS ?= -O2

# What others wrote to decode, draw and calculate is built without the race detector, under which a report's PNGs
# alone took a third of a session. It works on what its caller gives it, and what is ours, the bus and the database
# keep the detector; only a write of ours to what they read meanwhile goes unseen. So does encoding/json, which shares maps
# by a sync.Map: without it the detector sees the maps and not the sharing, and tells of races that are none.
PLAIN := bytes compress/... encoding/base64 hash/... image/... math math/rand/v2 golang.org/x/image/... github.com/golang/freetype/... \
	git.sr.ht/~sbinet/... gonum.org/... github.com/goccy/go-yaml/... github.com/foxglove/mcap/...
# The detector also has every pointer looked at for misuse, in all that math.Abs is part of; it stays on where we use unsafe
# ourselves, but for drawing in software, half of whose time it took.
MODULE := github.com/rapport-rl/rapport
UNSAFE := internal/nn/... perception/vision reward/ot
RACE := -race -gcflags=all=-d=checkptr=0 $(PLAIN:%=-gcflags=%=-race=false) $(UNSAFE:%=-gcflags=$(MODULE)/%=)
# All checks build one way, so that a machine with nothing in its cache compiles each library once: what runs unwatched is built for the
# detector, too, but for what is ours.
test lint fuzz: export GOFLAGS := $(GOFLAGS) $(RACE)
UNWATCHED := -vet=off -gcflags=$(MODULE)/...=-race=false
# These calculate in one goroutine, tests and all, so that the detector finds nothing and only takes its time.
ALONE := internal/arch perception/keypoint policy/align reward/classifier reward/label/query reward/preference/regret reward/preference/tree reward/probe reward/starc
# These calculate long besides what the detector looks at (files built for !race || long).
LONG := reward/preference/pal reward/rapl robot/guard

.PHONY: help run test build setup bench peers soak reproduce reproduce-rapl reproduce-xmagical reproduce-kagi reproduce-align demo-align lint fuzz clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: build ## fine-tune a simulated Franka from camera pixels, end to end
	bin/rapport run

demo-align: build ## bring a diffusion policy to what a simulated person ranks, in a few minutes of two cores
	bin/rapport align --person simulated

# lint has vetted the tests. The last ones wait for clocks, masters and browsers for a quarter of their time: three packages at once on two
# processors.
test: setup lint fuzz ## every check and every test, as CI runs them
	@scripts/setup.sh test
	go test $(UNWATCHED) -tags purego,noasm ./reward/ot ./internal/nn/... ./policy/bc
	go test $(UNWATCHED) -tags long -shuffle=on -timeout 40m $(ALONE:%=./%) $(LONG:%=./%)
	GOGC=300 go test -vet=off -shuffle=on -timeout 40m -p $$((($$(nproc) * 3 + 1) / 2)) $$(go list ./... | grep -vxF "$$(printf '$(MODULE)/%s\n' $(ALONE))")

build: setup ## build bin/rapport
	go build -o bin/rapport ./cmd/rapport

setup: ## install the missing Debian packages
	@scripts/setup.sh run

lint: setup ## formatting, vet, staticcheck, tidy go.mod
	@bad=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); [ -z "$$bad" ] || { echo "gofmt: $$bad"; exit 1; }
	go mod tidy -diff
	go vet -tags long ./...
	go tool staticcheck -tags long ./...

fuzz: setup ## fuzz every decoder for FUZZ seconds
	scripts/fuzz.sh $(FUZZ)

peers: setup ## compare with Debian's PyTorch and POT
	@scripts/setup.sh peers
	go test -tags peers -run Peer ./...

bench: setup ## measure against the peers in the same run and print ratios
	@scripts/setup.sh peers
	@scripts/setup.sh test
	@scripts/bench.sh

soak: setup ## ten minutes of camera to command over ROS, beside rospy, cv_bridge and PyTorch
	@scripts/setup.sh soak
	go test -tags peers ./internal/wire -run TestPeerSoak -soak 10m -timeout 30m -v

reproduce: build ## five seeds of every claim of learning, with intervals (docs/results.md)
	bin/rapport reproduce --seeds 5 --offline bc,iql,calql
	bin/rapport reproduce --seeds 5 --set learner.kind=iql
	bin/rapport reproduce --seeds 5 --set policy.sees=pixels --set policy.clone.steps=1000 --set learner.batch=64
	bin/rapport reproduce --seeds 5 --set robot.task=reach --set reward.kind=kagi --offline bc,iql
	go test -run '^$$' -bench Ways -benchtime 1x ./policy/diffusion
	go test -run '^$$' -bench Variants -benchtime 1x ./policy/rlpd
	go test -run '^$$' -bench Acceptance -benchtime 1x ./reward/rapl

reproduce-rapl: build ## kinds of rewards by their correlation with the truth, and the policies that they make
	bin/rapport reproduce rapl --seeds 5 --labels 10,30,75,150,300 --policies features,rapl:10,rapl:30,rapl:150,truth,rlhf:30,rlhf:300
	bin/rapport reproduce rapl --seeds 5 --labels 10,30,75,150,300 --kinds rapl,rlhf --set reward.sees=objects --to runs/reproduce-rapl-objects

reproduce-xmagical: build ## learning curves in two dimensions by kinds of rewards, and short to medium (docs/xmagical.md)
	bin/rapport reproduce xmagical --seeds 5
	bin/rapport reproduce xmagical --seeds 5 --from short --kinds rapl,rlhf,tcc --to runs/reproduce-xmagical-from-short

reproduce-kagi: build ## KAGI's reward beside its halves, demonstrations alone and success by a classifier, and practice: many hours (docs/kagi.md)
	bin/rapport reproduce keypoints
	bin/rapport reproduce kagi --seeds 5 --tasks reach,spatula --kinds kagi,classifier
	bin/rapport reproduce kagi --seeds 5 --tasks spatula,stack,almonds --demos 0.2 --set session.record=false
	bin/rapport reproduce kagi --seeds 5 --tasks cover --demos 0.2 --set session.record=false --set session.episodes=60 --set session.evaluate=50 --to runs/reproduce-cover
	bin/rapport reproduce kagi --seeds 5 --tasks cover --kinds kagi --set session.record=false --set session.episodes=60 --set session.evaluate=50 --to runs/reproduce-cover-all
	bin/rapport reproduce kagi --seeds 5
	bin/rapport reproduce robust --seeds 5
	bin/rapport reproduce practice --seeds 5 --apart

# Aligners of which people say something else than which of two rollouts is better want settings of their own.
ALIGN = bin/rapport reproduce align --seeds 5 --set align.rounds=10
ANN = {name: ann, share: 1, distance: 1, undesired: 0.16}
PRICES = --set people.groups='[$(ANN), {name: cid, share: 1, early: 1}]'
TASTES = --set people.groups='[$(ANN), {name: ben, share: 1, distance: 1, undesired: -0.32}]'

reproduce-align: build ## alignments by numbers of answers, who ranks, and aligners: many hours (docs/align-pipeline.md)
	$(ALIGN) --tasks cup --labels 4 --by rapl,rlhf,labels --aligners diffusion-dpo
	$(ALIGN) --tasks cup,chips,fork --labels 10,20,50,100 --by rapl,rlhf,labels --aligners diffusion-dpo
	$(ALIGN) --tasks cup --labels 50 --by rapl --aligners d3po,rm-filter,partial,dppo,alignprop
	$(ALIGN) --tasks cup,chips,fork --labels 10,20,100 --by rapl --aligners prdp,d3po,rwr,seppo,rm-filter,partial,dppo,alignprop,dragon
	$(ALIGN) --tasks cup --labels 20 --by rapl --aligners flow-dpo,rwr,seppo,rm-filter,dragon,alignprop,partial --set policy.diffusion.process=flow
	$(ALIGN) --tasks cup --labels 20 --by labels --aligners fdpo --set align.ask=segments --to runs/reproduce-align-segments
	$(ALIGN) --tasks cup --labels 20 --set people.noise=0.1 --to runs/reproduce-align-noise
	$(ALIGN) --tasks cup --labels 40 --by labels --aligners pareto,dppo $(PRICES) --to runs/reproduce-align-prices
	$(ALIGN) --tasks cup --labels 40 --by labels --aligners pareto,dppo $(TASTES) --to runs/reproduce-align-tastes
	for who in ann cid; do $(ALIGN) --tasks cup --labels 40 --by labels --aligners ppd $(PRICES) --set align.rank=4 --set align.person=$$who --to runs/reproduce-align-prices-$$who || exit; done
	for who in ann ben; do $(ALIGN) --tasks cup --labels 40 --by labels --aligners ppd $(TASTES) --set align.rank=4 --set align.person=$$who --to runs/reproduce-align-tastes-$$who || exit; done

clean: ## remove what was built; runs/ stays
	rm -rf bin
