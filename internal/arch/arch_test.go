package arch_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/rapport-rl/rapport/"

type pkg struct {
	ImportPath   string
	Dir          string
	Doc          string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string
	GoFiles      []string
	CgoFiles     []string
	CFiles       []string
	CXXFiles     []string
	HFiles       []string
}

// short is the path below the module.
func (p pkg) short() string { return strings.TrimPrefix(p.ImportPath, module) }

func house(t *testing.T) []pkg {
	t.Helper()
	ps, err := list()
	if err != nil {
		t.Fatal(err)
	}
	if len(ps) < 10 {
		t.Fatalf("go list found %d packages; the test looks in the wrong place", len(ps))
	}
	return ps
}

// list is asked once: go list takes seconds.
var list = sync.OnceValues(func() (ps []pkg, err error) {
	cmd := exec.Command("go", "list", "-json", "./...")
	cmd.Dir = "../.."
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return ps, nil
		} else if err != nil {
			return nil, err
		}
		ps = append(ps, p)
	}
})

func under(path, room string) bool { return path == room || strings.HasPrefix(path, room+"/") }

// rooms lists, for each room, the rooms that it may import; the longest name
// that fits a package counts. A room may always import what is below itself
// in the same folder.
var rooms = []struct {
	name  string
	lower []string
}{
	{"robot", nil},
	{"robot/ros", []string{"robot"}},
	{"robot/guard", []string{"robot"}},
	{"robot/record", []string{"robot"}},
	{"robot/robottest", []string{"robot"}},
	{"robot/bag", []string{"robot", "robot/franka"}},
	{"robot/franka", []string{"robot"}},
	{"internal/nn", []string{"internal/pace"}},
	{"internal/pace", nil},
	{"internal/seed", nil},
	{"internal/flock", nil},
	{"internal/whole", nil},
	{"reward/ot", nil},
	{"perception", []string{"robot", "internal/nn", "internal/whole"}},
	{"reward", []string{"perception", "robot", "reward/ot", "internal/nn"}},
	{"reward/label", nil},
	{"policy", []string{"perception", "robot", "internal/pace", "internal/seed", "internal/flock", "internal/nn"}},
	{"policy/loop", []string{"policy", "reward", "perception", "robot"}},
	{"sim", []string{"robot"}},
	{"sim/person", []string{"sim", "robot", "reward/label"}},
	{"internal/bus", []string{"policy", "reward", "perception", "robot", "internal/flock"}},
	{"internal/store", []string{"policy", "perception", "robot", "reward/label", "internal/flock"}},
	{"internal/config", nil},
	{"internal/report", nil},
	{"internal/arch", nil},
	{"internal/porttest", nil},
	{"internal/web", []string{"internal/bus", "policy", "robot", "reward/label", "reward/kagi"}},
	{"internal/wire", []string{"robot", "sim", "perception", "reward", "policy", "internal/bus", "internal/store", "internal/config", "internal/nn", "internal/seed", "internal/report"}},
	{"internal/cli", []string{"internal/wire", "internal/web", "internal/config", "internal/bus", "internal/store", "internal/report", "internal/nn", "internal/whole", "sim", "reward", "perception", "policy", "robot"}},
	{"cmd", []string{"internal/cli", "internal/nn"}},
}

func TestImportsRunOneWay(t *testing.T) {
	for _, p := range house(t) {
		best := -1
		for i, r := range rooms {
			if under(p.short(), r.name) && (best < 0 || len(r.name) > len(rooms[best].name)) {
				best = i
			}
		}
		if best < 0 {
			t.Errorf("%s has no place in the house: give it one in rooms", p.short())
			continue
		}
		for _, imp := range p.Imports {
			if !strings.HasPrefix(imp, module) {
				continue
			}
			got := strings.TrimPrefix(imp, module)
			ok := under(got, rooms[best].name) || slices.ContainsFunc(rooms[best].lower, func(r string) bool { return under(got, r) })
			if !ok {
				t.Errorf("%s imports %s, which is not below %s", p.short(), got, rooms[best].name)
			}
		}
	}
}

func TestForeignLibrariesHaveOneImporter(t *testing.T) {
	// Several rooms are an exception that an ADR explains.
	for _, tt := range []struct{ library, rooms string }{
		{"gocv.io/x/gocv", "perception/vision"},
		{"github.com/bluenviron/goroslib", "robot/ros"},
		{"github.com/nats-io", "internal/bus"},
		{"modernc.org/sqlite", "internal/store robot/bag"},
		{"github.com/jakecoffman/cp", "sim/xmagical"},
		{"github.com/foxglove/mcap", "robot/record robot/bag"},
		{"github.com/pierrec/lz4", "robot/bag"},
		{"github.com/klauspost/compress", "robot/bag"},
		{"github.com/parquet-go/parquet-go", "policy/dataset/lerobot"},
		{"github.com/spf13/cobra", "internal/cli"},
		{"github.com/vbauerster/mpb", "internal/cli"},
		{"github.com/goccy/go-yaml", "internal/config robot/bag"},
		{"gonum.org/v1/plot", "internal/report"},
		{"github.com/coder/websocket", "internal/web"},
		{"github.com/sashabaranov/go-openai", "reward/vlm"},
	} {
		for _, p := range house(t) {
			for _, imp := range p.Imports {
				if under(imp, tt.library) && !slices.ContainsFunc(strings.Fields(tt.rooms), func(r string) bool { return under(p.short(), r) }) {
					t.Errorf("%s imports %s, which only %s may", p.short(), imp, tt.rooms)
				}
			}
		}
	}
}

// The importers of C libraries are found in the sources.
func TestCLibrariesHaveOneImporter(t *testing.T) {
	for header, room := range map[string]string{
		"mujoco/mujoco.h": "sim/mujoco", "dnnl.h": "internal/nn/device", "jpeglib.h": "perception/vision", "opencv2/": "perception/vision",
	} {
		found := false
		for _, p := range house(t) {
			for _, f := range slices.Concat(p.CgoFiles, p.CFiles, p.CXXFiles, p.HFiles) {
				b, err := os.ReadFile(filepath.Join(p.Dir, f))
				if err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(string(b), header) {
					continue
				}
				found = true
				if !under(p.short(), room) {
					t.Errorf("%s/%s includes %s, which only %s may", p.short(), f, header, room)
				}
			}
		}
		if !found {
			t.Errorf("nothing includes %s; the test looks for the wrong name", header)
		}
	}
}

func TestLearningCannotReachTheTruth(t *testing.T) {
	for _, p := range house(t) {
		for _, room := range []string{"policy", "reward", "perception", "internal/bus", "robot"} {
			if !under(p.short(), room) {
				continue
			}
			for _, dep := range p.Deps {
				if under(dep, module+"sim") {
					t.Errorf("%s depends on %s: only simulated people, evaluation and tests may read the truth", p.short(), dep)
				}
			}
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for _, p := range house(t) {
		if p.Doc == "" {
			t.Errorf("%s has no package comment", p.short())
		}
	}
}

// Whoever reads the wall clock cannot be replayed.
func TestWallClockIsReadAtTheEdgeAlone(t *testing.T) {
	edge := []string{"robot/ros", "internal/bus", "internal/cli", "internal/report", "internal/web", "internal/pace"}
	for _, p := range house(t) {
		if slices.ContainsFunc(edge, func(r string) bool { return under(p.short(), r) }) {
			continue
		}
		for _, f := range slices.Concat(p.GoFiles, p.CgoFiles) {
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, filepath.Join(p.Dir, f), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				x, ok := sel.X.(*ast.Ident)
				if ok && x.Name == "time" && x.Obj == nil && slices.Contains([]string{"Now", "Sleep", "Since", "After", "Tick"}, sel.Sel.Name) {
					t.Errorf("%s: time.%s; stamps come from the backend", fset.Position(n.Pos()), sel.Sel.Name)
				}
				return true
			})
		}
	}
}

// What runs without the race detector has nothing for it to find: the packages that the
// Makefile calls ALONE start no goroutine, and neither do their tests.
func TestWhatIsNotWatchedForRacesHasNone(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(makefile), "\nALONE := ")
	line, _, end := strings.Cut(rest, "\n")
	alone := strings.Fields(line)
	if !ok || !end || len(alone) == 0 {
		t.Fatal("the Makefile has no line ALONE := PACKAGES")
	}
	for _, dir := range alone {
		files, err := filepath.Glob(filepath.Join("../..", dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Errorf("%s: %d files, %v", dir, len(files), err)
		}
		for _, path := range files {
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, path, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				sel, _ := n.(*ast.SelectorExpr)
				_, starts := n.(*ast.GoStmt)
				if x, ok := n.(*ast.CallExpr); ok && len(x.Args) == 1 {
					_, f := x.Args[0].(*ast.FuncLit)
					s, method := x.Fun.(*ast.SelectorExpr)
					starts = f && method && s.Sel.Name == "Go"
				}
				if starts || sel != nil && sel.Sel.Name == "Parallel" {
					t.Errorf("%s starts a goroutine, unseen by the race detector", fset.Position(n.Pos()))
				}
				return true
			})
		}
	}
}
