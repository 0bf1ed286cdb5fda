package wire

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/store"
)

// filesFile keeps, beside a session's database, the SHA-256 by key of the files that may lie
// elsewhere when the session goes on, as they were when it last began or went on.
const filesFile = "files.json"

const keyPlan = "reward.kagi.plan"

// moving are these files, by key. encoder.onnx is another: what was learned goes by it (sameONNX).
func moving(c config.Config) map[string]string {
	return map[string]string{keyPlan: c.Reward.KAGI.Plan, "reward.kagi.cameras": c.Reward.KAGI.Cameras, keySegmenter: c.Reward.KAGI.Segmenter}
}

// mislaid adds to what is wrong with the FILE or FOLDER of a key how one that lies elsewhere now is named.
func mislaid(key, what string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w; where it lies elsewhere now: --set %s=%s", err, key, what)
	}
	return err
}

// keptFiles are the sums of the session in dir; none of one that was begun before they were kept.
func keptFiles(dir string) (sums map[string]string, err error) {
	err = readBeside(dir, filesFile, &sums, "remove it: it only tells whether a file that lies elsewhere is the same")
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return sums, err
}

// keepFiles keeps them. Of one that cannot be read, as one that was moved and is named by the next
// start, or cameras that a simulation has no use for, what was kept stays; whoever needs it tells.
func keepFiles(st *store.Session, c config.Config) error {
	was, err := keptFiles(st.Dir())
	if err != nil {
		return err
	}
	sums := map[string]string{}
	for key, path := range moving(c) {
		if path == "" {
			continue
		}
		if sum, err := fileSum(key, path); err == nil {
			sums[key] = sum
		} else if kept, ok := was[key]; ok {
			sums[key] = kept
		}
	}
	if maps.Equal(was, sums) {
		return nil
	}
	return keepBeside(st, filesFile, sums)
}

// movedFiles are the keys of files of the session in dir, configured as was, that lie elsewhere under
// now and are the same. Another file is refused, and so is one that cannot be read.
func movedFiles(dir string, was, now config.Config) (keys []string, err error) {
	then := moving(was)
	files := moving(now)
	for _, key := range slices.Sorted(maps.Keys(files)) {
		path := files[key]
		if path == then[key] || path == "" || then[key] == "" {
			continue
		}
		sums, err := keptFiles(dir)
		if err != nil {
			return nil, err
		}
		sum, err := fileSum(key, path)
		if err != nil {
			return nil, err
		}
		want := sums[key]
		if want == "" { // who says where a file of before lies now is believed, where it is not there to see
			want, err = fileSum(key, then[key])
		}
		if err == nil && want != sum {
			return nil, fmt.Errorf("wire: %s: %s is another file, of SHA-256 %s, than %s goes by, of %s; name that, or begin another session", key, path, short(sum), dir, short(want))
		}
		keys = append(keys, key)
	}
	return keys, nil
}
