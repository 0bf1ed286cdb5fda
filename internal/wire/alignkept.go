package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/policy/dataset/lerobot/grid"
)

// aligned says whether the session in dir is an alignment.
func aligned(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, alignFolder))
	return err == nil
}

// alignIt is how to have an alignment of the policy of dir.
func alignIt(dir string) string {
	if aligned(dir) {
		return "align it first: rapport align " + Quoted(dir)
	}
	return "align its policy in a folder of its own: rapport align --set " + Quoted("session.from="+dir)
}

// fineTunes refuses to fine-tune an alignment as a session: it would leave a policy of its own
// beside the aligned one, which people then took for that.
func fineTunes(dir string) error {
	if aligned(dir) {
		return fmt.Errorf("wire: %s is an alignment; go on with: %s", dir, GoOn(dir))
	}
	return nil
}

// readAlign reads a file of the alignment in dir, if it has one that is whole: only its steps
// have to know why not.
func readAlign(dir, name string, v any) bool {
	b, err := os.ReadFile(filepath.Join(dir, alignFolder, name))
	return err == nil && json.Unmarshal(b, v) == nil
}

// latest is the newest checkpoint of a kind, see remedied.
func (s *Session) latest(ctx context.Context, kind string) (version uint64, data []byte, err error) {
	version, data, err = s.store.LatestCheckpoint(ctx, kind)
	var d *store.Damage
	if s.served && errors.As(err, &d) {
		d.Remedy = strings.ReplaceAll(d.Remedy, dropFlags, s.dropFlags())
	}
	return version, data, remedied(s.Dir(), kind, err)
}

// dropFlags are those of rapport run that forget a damaged checkpoint, before its kind.
const dropFlags = "--resume --drop-checkpoint"

// dropFlags are those of the command that goes on with s: of a learner's session, rapport run
// would drive an arm of its own.
func (s *Session) dropFlags() string {
	if s.served {
		return "rapport learner as before and --drop-checkpoint"
	}
	return dropFlags
}

// remedied is err with what to do about a damaged checkpoint that no rapport run --resume makes
// again: a success classifier, the critic of an earlier session, and those of an alignment, whose
// steps make their own again, and nothing else is.
func remedied(dir, kind string, err error) error {
	var d *store.Damage
	if !errors.As(err, &d) || !aligned(dir) && kind != kindSuccess && kind != kindCritic {
		return err
	}
	of := *d
	switch {
	case kind == kindSuccess:
		of.Remedy = fmt.Sprintf("train it anew: rapport reward classifier train %s, or name the file of one by reward.classifier", Quoted(dir))
		return &of
	case !aligned(dir):
		of.Remedy = "bring the file back from a copy, as that of the same name in the folder of session.from, or begin another session"
		return &of
	}
	of.Remedy = "bring the file back from a copy, or begin another alignment: rapport align"
	if kind == kindTuned || kind == kindCritic || kind == kindReward && learned(dir, d.Version) {
		of.Remedy = "have it made again: rapport align " + Quoted(dir)
	}
	return &of
}

// learned says whether that version of the reward in dir is the one that AlignEncoder learned.
func learned(dir string, version uint64) bool {
	var j judgement
	return readAlign(dir, judgementFile, &j) && j.Version > 0 && j.Version == version
}

// mend forgets a damaged reward that AlignEncoder learned, so that it learns it again. All other
// steps would stop at it before.
func (a *Alignment) mend(ctx context.Context) error {
	_, _, err := a.s.store.LatestCheckpoint(ctx, kindReward)
	var d *store.Damage
	if !errors.As(err, &d) || !learned(a.s.Dir(), d.Version) {
		return nil // what else there may be, whoever needs it says
	}
	a.s.log.Warn("wire: align: the learned reward is damaged and will be learned again", "file", d.Path, "step", AlignEncoder)
	return a.s.store.DropCheckpoint(ctx, kindReward)
}

// unlearned says why the reward of a judgement must be learned again; "": it need not.
func (a *Alignment) unlearned(ctx context.Context, j judgement) (why string, err error) {
	if j.Version == 0 {
		return "", nil // it ranks without
	}
	v, _, err := a.s.latest(ctx, kindReward)
	if err != nil {
		return "", err
	}
	if v != j.Version {
		return fmt.Sprintf("learned again, since its reward %d was damaged or is not the session's newest", j.Version), nil
	}
	return "", nil
}

// tuned says whether data are the policy that AlignTune left in dir.
func (t tunedBy) tuned(dir string, data []byte) bool {
	if t.Policy != "" {
		return t.Policy == sum(data)
	}
	// Of before it was noted, the file that is to be taken elsewhere tells, where it is left.
	b, err := os.ReadFile(filepath.Join(dir, alignFolder, policyFile))
	return err != nil || bytes.Equal(b, data)
}

// offer writes the aligned policy where people take it from, unless it is there: the file may have
// been moved away.
func (a *Alignment) offer(policy []byte) error {
	if b, err := os.ReadFile(a.file(policyFile)); err == nil && bytes.Equal(b, policy) {
		return nil
	}
	return grid.Put(a.file(policyFile), func(w io.Writer) error {
		_, err := w.Write(policy)
		return err
	})
}

// Stays is what is said of an alignment that kept round 0.
const Stays = "no round was better than the policy as cloned; it stays"

// alignedBy says how the policy of that checkpoint of the session in dir came about, "" if not
// by its alignment.
func alignedBy(dir string, data []byte) string {
	var t tunedBy
	if !aligned(dir) || !readAlign(dir, tuneFile, &t) || !t.tuned(dir, data) {
		return ""
	}
	if t.Report.Best == 0 {
		return fmt.Sprintf("as cloned, since no round of %s was better", t.By)
	}
	return fmt.Sprintf("aligned by %s, round %d", t.By, t.Report.Best)
}

// untuned says why the policy must be tuned again, "" if it need not, and forgets a damaged one
// or its critic. was is the tuning of before.
func (a *Alignment) untuned(ctx context.Context, was tunedBy) (why string, err error) {
	for _, kind := range []string{kindTuned, kindCritic} {
		_, data, err := a.s.store.LatestCheckpoint(ctx, kind)
		var d *store.Damage
		switch {
		case errors.As(err, &d):
			a.s.log.Warn("wire: align: a checkpoint is damaged and will be made again", "file", d.Path, "step", AlignTune)
			if err := a.s.store.DropCheckpoint(ctx, kind); err != nil {
				return "", err
			}
			why = "its checkpoint " + kind + " was damaged"
		case errors.Is(err, store.ErrNone): // a critic of before these were kept, too
			why = "its checkpoint " + kind + " was gone"
		case err != nil:
			return "", err
		case kind == kindTuned && !was.tuned(a.s.Dir(), data):
			why = "the newest checkpoint " + kind + " was another's"
		}
	}
	return why, nil
}

// version is that of the policy to be kept: newer than what others left, so that it is the
// newest, and that of the tuning before, which it replaces.
func (a *Alignment) version(ctx context.Context, was tunedBy) (uint64, error) {
	next := a.p.clone.Version + 1
	mine := was.Version
	if mine == 0 && was.Of != "" {
		mine = next // of before it was noted
	}
	for _, kind := range []string{kindTuned, kindCritic} {
		v, _, err := a.s.store.LatestCheckpoint(ctx, kind)
		switch {
		case errors.Is(err, store.ErrNone):
		case err != nil:
			return 0, err
		case v == mine:
			next = max(next, v)
		default:
			next = max(next, v+1)
		}
	}
	return next, nil
}
