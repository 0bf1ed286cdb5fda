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
	// A name in another form would be passed over above.
	function, test := regexp.MustCompile("`[a-z]+\\.[A-Z]"), regexp.MustCompile("`Test[A-Z]")
	for i, line := range strings.Split(string(page), "\n") {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| equation") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		if len(cells) != 3 || !function.MatchString(cells[1]) || !test.MatchString(cells[2]) {
			t.Errorf("docs/papers.md:%d: want equation, function, test; got %q", i+1, cells)
		}
	}
}

// TestDocumentsPointAtWhatExists follows the links between the documents, and
// finds the tests that they name.
func TestDocumentsPointAtWhatExists(t *testing.T) {
	have := declared(t)
	link := regexp.MustCompile(`\]\(([^)#]+)[^)]*\)`)
	test := regexp.MustCompile("`(Test[A-Z][A-Za-z0-9]*)`")
	links := 0
	for _, doc := range documents(t) {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			links++
			if _, err := os.Stat(filepath.Join(filepath.Dir(doc), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", doc, m[1], err)
			}
		}
		for _, m := range test.FindAllStringSubmatch(string(text), -1) {
			if !have[m[1]] {
				t.Errorf("%s names %s, which is nowhere", doc, m[1])
			}
		}
	}
	if links < 10 {
		t.Fatalf("the documents have %d links; the test reads them wrongly", links)
	}
}

// documents lists the README, the changelog and all below docs.
func documents(t *testing.T) []string {
	t.Helper()
	docs := []string{"../../README.md", "../../CHANGELOG.md"}
	err := filepath.WalkDir("../../docs", func(path string, _ os.DirEntry, err error) error {
		if strings.HasSuffix(path, ".md") {
			docs = append(docs, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return docs
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
