package arch_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestPapersNameWhatExists keeps docs/papers.md true: each function it names,
// as `pkg.Func` or `pkg.Type.Method`, and each `TestName` is in the sources.
func TestPapersNameWhatExists(t *testing.T) {
	page, err := os.ReadFile("../../docs/papers.md")
	if err != nil {
		t.Fatal(err)
	}
	have := declared(t)
	named := regexp.MustCompile("`(Test[A-Za-z0-9]+|[a-z]+\\.[A-Z][A-Za-z0-9]*(?:\\.[A-Z][A-Za-z0-9]*)?)`").FindAllStringSubmatch(string(page), -1)
	if len(named) < 80 {
		t.Fatalf("the page names %d things; the test reads it wrongly", len(named))
	}
	for _, m := range named {
		if !have[m[1]] {
			t.Errorf("docs/papers.md names %s, which is nowhere", m[1])
		}
	}
}

// declared lists tests by name, and exported functions, methods, types and
// constants by package.
func declared(t *testing.T) map[string]bool {
	t.Helper()
	have := map[string]bool{}
	err := filepath.WalkDir("../..", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		pkg := f.Name.Name
		for _, decl := range f.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				name := d.Name.Name
				switch {
				case strings.HasPrefix(name, "Test"):
					have[name] = true
				case d.Recv == nil:
					have[pkg+"."+name] = true
				default:
					have[pkg+"."+receiver(d.Recv.List[0].Type)+"."+name] = true
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.TypeSpec:
						have[pkg+"."+s.Name.Name] = true
					case *ast.ValueSpec:
						for _, n := range s.Names {
							have[pkg+"."+n.Name] = true
						}
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return have
}

func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
