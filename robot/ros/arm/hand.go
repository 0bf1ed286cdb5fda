package arm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/robot/ros/msgs/gripper"
)

const (
	// settled is the change of the wanted opening below which the fingers are left
	// alone, m: the gripper takes hundreds of milliseconds for any goal.
	settled = 0.004
	// newer is the change for which a goal under way is given up, m.
	newer = 0.016
	// goalLimit is how long a goal may take; the whole stroke at 0.01 m/s.
	goalLimit = 8 * time.Second
)

// grasper carries out goals of a Franka Hand.
type grasper interface {
	move(ctx context.Context, width float64) error
	grasp(ctx context.Context, width float64) error
	stop(ctx context.Context) error
}

// hand follows the wanted opening with one goal at a time, since a gripper is no
// servo: opening is a move, closing is a grasp, which goes on pressing on what it
// meets. A wish that changes under way ends the goal, but what a grasp holds is let go
// only by a wish to open further than the fingers are.
type hand struct {
	g     grasper
	apart func() float64 // how far apart the fingers are, m
	log   *slog.Logger
	wake  chan struct{}
	done  sync.WaitGroup

	mu    sync.Mutex
	want  float64 // m
	sent  float64 // m, of the last goal; NaN before, and after one that was stopped
	grips bool    // whether that is a grasp
	kept  float64 // m, what the fingers keep since a hold, until another wish; NaN without one
	taken float64 // m, the wish that the hold took back
	busy  bool
	err   error // of the last goal that could not be sent or answered
	lost  bool  // whether a goal was since the last forgive
}

// newHand makes a hand whose fingers are apart() from each other, m.
func newHand(g grasper, apart func() float64, log *slog.Logger) *hand {
	none := math.NaN()
	return &hand{g: g, apart: apart, log: log, wake: make(chan struct{}, 1), sent: none, want: none, kept: none, taken: none}
}

// to says how far apart the fingers shall be, m.
func (h *hand) to(width float64) {
	h.mu.Lock()
	h.want, h.kept, h.taken = width, math.NaN(), math.NaN()
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// stay takes back a wish that is no goal yet. A goal that is under way goes on: what the
// fingers hold is not to fall.
func (h *hand) stay() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if math.IsNaN(h.kept) {
		if h.kept, h.taken = h.sent, h.want; math.IsNaN(h.sent) {
			h.kept = h.apart()
		}
	}
	h.want = h.sent
}

// held is the width, m, that the fingers keep since a hold, or false if there was another wish
// since.
func (h *hand) held() (float64, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.kept, !math.IsNaN(h.kept)
}

// resumes says whether width, m, is what the fingers keep since a hold, or what that took back:
// whoever has an arm hold goes by the last grip that it knows of. Where no goal is known that is
// how far apart it saw them.
func (h *hand) resumes(width float64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if math.IsNaN(h.sent) && math.Abs(width-h.kept) <= settled {
		return true
	}
	return same(width, h.kept) || same(width, h.taken)
}

// same says whether widths differ by rounding alone.
func same(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

// forgive begins anew after a goal that could not be sent or answered, which the fingers
// may not have carried out: the next wish is a goal.
func (h *hand) forgive() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err = nil; h.lost {
		h.want, h.sent, h.lost = math.NaN(), math.NaN(), false
	}
}

// failed returns what went wrong since the last call.
func (h *hand) failed() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	err := h.err
	h.err = nil
	return err
}

// resting says that no goal is under way or due.
func (h *hand) resting() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.busy && !h.due()
}

// due says whether the wanted opening asks for a goal. The caller holds mu.
func (h *hand) due() bool {
	if math.IsNaN(h.want) || math.Abs(h.want-h.sent) <= settled {
		return false
	}
	holds := h.grips && h.apart() > h.sent+settled // something is in between
	return !holds || h.opens()
}

// opens says whether the wanted opening is further than the fingers are apart. The caller
// holds mu.
func (h *hand) opens() bool { return h.want > min(h.apart(), franka.Stroke-2*settled)+settled }

// closes says whether the wanted opening is less than the fingers are apart: what is in
// between decides, not what the last goal was. A hand that was homed may open wider than is ever
// wished, which makes no grasp of a wish to open, since that closes until it meets something. The
// caller holds mu.
func (h *hand) closes() bool {
	at := h.apart()
	switch {
	case h.want >= franka.Stroke-2*settled:
		return false
	case h.want < at-settled:
		return true
	case math.IsNaN(h.sent):
		return h.want < at && h.want <= settled
	}
	return h.want < min(at, h.sent)
}

// run follows until ctx ends.
func (h *hand) run(ctx context.Context) {
	for {
		h.mu.Lock()
		due, want := h.due(), h.want
		h.busy = due
		if due {
			h.grips = h.closes()
			h.sent = want
		}
		grips := h.grips
		h.mu.Unlock()
		if due {
			h.goal(ctx, want, grips)
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-h.wake:
		}
	}
}

func (h *hand) goal(ctx context.Context, width float64, closing bool) {
	gctx, cancel := context.WithTimeout(ctx, goalLimit)
	defer cancel()
	end := make(chan error, 1)
	h.done.Go(func() {
		if closing {
			end <- h.g.grasp(gctx, width)
		} else {
			end <- h.g.move(gctx, width)
		}
	})
	stopped := false
	for {
		select {
		case err := <-end:
			if stopped {
				h.given()
			} else if err != nil && ctx.Err() == nil {
				h.mu.Lock()
				h.err, h.lost, h.grips = fmt.Errorf("arm: gripper: %w", err), true, false
				h.mu.Unlock()
				h.log.Warn("arm: gripper", "err", err)
			}
			return
		case <-h.wake:
			h.mu.Lock()
			change := math.Abs(h.want-width) > newer && (!closing || h.opens())
			h.mu.Unlock()
			if change && !stopped {
				stopped = true
				if err := h.g.stop(gctx); err != nil {
					h.log.Warn("arm: gripper: stop", "err", err)
				}
				cancel()
			}
		}
	}
}

// given notes that a goal was given up: the fingers are anywhere and hold nothing, so that any
// wish is a goal, the same again, too. A hold leaves them there.
func (h *hand) given() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sent, h.grips = math.NaN(), false
	if !math.IsNaN(h.kept) {
		h.want = math.NaN()
	}
}

// frankaHand is the gripper node of franka_ros. That a goal did not get where it
// was to go is no error: something was in the way, which is what a hand is for.
type frankaHand struct {
	cfg    Gripper
	moves  *ros.Action[gripper.MoveGoal, gripper.MoveFeedback, gripper.MoveResult]
	grasps *ros.Action[gripper.GraspGoal, gripper.GraspFeedback, gripper.GraspResult]
	stops  *ros.Action[gripper.StopGoal, gripper.StopFeedback, gripper.StopResult]
	homes  *ros.Action[gripper.HomingGoal, gripper.HomingFeedback, gripper.HomingResult]
}

func openHand(n *ros.Node, cfg Gripper) (*frankaHand, error) {
	f := &frankaHand{cfg: cfg}
	var errs [4]error
	f.moves, errs[0] = ros.Act[gripper.MoveGoal, gripper.MoveFeedback, gripper.MoveResult](n, MoveAction)
	f.grasps, errs[1] = ros.Act[gripper.GraspGoal, gripper.GraspFeedback, gripper.GraspResult](n, GraspAction)
	f.stops, errs[2] = ros.Act[gripper.StopGoal, gripper.StopFeedback, gripper.StopResult](n, StopAction)
	f.homes, errs[3] = ros.Act[gripper.HomingGoal, gripper.HomingFeedback, gripper.HomingResult](n, HomingAction)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, errors.Join(fmt.Errorf("arm: gripper: %w", err), f.Close())
	}
	return f, nil
}

// Close ends the clients; the fingers stay as they are.
func (f *frankaHand) Close() error {
	var all []io.Closer
	if f.moves != nil {
		all = append(all, f.moves)
	}
	if f.grasps != nil {
		all = append(all, f.grasps)
	}
	if f.stops != nil {
		all = append(all, f.stops)
	}
	if f.homes != nil {
		all = append(all, f.homes)
	}
	return ros.CloseAll(all)
}

func (f *frankaHand) move(ctx context.Context, width float64) error {
	_, err := f.moves.Do(ctx, &gripper.MoveGoal{Width: width, Speed: f.cfg.Speed}, nil)
	return blocked(err)
}

func (f *frankaHand) grasp(ctx context.Context, width float64) error {
	_, err := f.grasps.Do(ctx, &gripper.GraspGoal{
		Width: width, Speed: f.cfg.Speed, Force: f.cfg.Force,
		Epsilon: gripper.GraspEpsilon{Inner: franka.Stroke, Outer: franka.Stroke}, // whatever it meets
	}, nil)
	return blocked(err)
}

func (f *frankaHand) stop(ctx context.Context) error {
	_, err := f.stops.Do(ctx, &gripper.StopGoal{}, nil)
	return blocked(err)
}

// home opens and closes the fingers as far as they go.
func (f *frankaHand) home(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*goalLimit)
	defer cancel()
	if _, err := f.homes.Do(ctx, &gripper.HomingGoal{}, nil); err != nil {
		return fmt.Errorf("arm: gripper: homing: %w", err)
	}
	return nil
}

// blocked lets pass that the fingers did not get there.
func blocked(err error) error {
	var g *ros.ErrGoal
	if errors.As(err, &g) && g.Status == ros.Aborted {
		return nil
	}
	return err
}
