package critic

import (
	"os"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn/blas"
)

func TestMain(m *testing.M) {
	blas.Use()
	blas.SetThreads(1)
	os.Exit(m.Run())
}
