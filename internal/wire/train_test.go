package wire

import (
	"path/filepath"
	"testing"
)

// What learns nothing from recorded episodes is refused before they are read, or the encoder that
// saw them is.
func TestWhatLearnsFromItselfIsRefusedBeforeEpisodesAreRead(t *testing.T) {
	c := tiny(t)
	dir := filepath.Join(c.Out, "one")
	st, err := founded(dir, c)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = TrainOffline(t.Context(), dir, false, 1, nil, []string{"learner.kind=ppo"}, quietly())
	wantErr(t, err, "ppo learns from what its own policy does alone", "bc or diffusion")
	c.Learner.Kind, c.Policy.Sees = "ppo", "pixels"
	_, err = TrainImported(t.Context(), "../../policy/dataset/lerobot/testdata/v3", c, []byte("no: map"), 1, quietly())
	wantErr(t, err, "bc or diffusion")
}
