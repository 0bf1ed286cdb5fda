package buffer_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// beChild, in a child's environment, names the folder that this test binary
// fills until it is killed.
const beChild = "BUFFER_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(beChild); dir != "" {
		fmt.Println(fill(dir))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m) // Close waits for the crew
}
