package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/whole"
	"github.com/rapport-rl/rapport/internal/wire"
	"github.com/rapport-rl/rapport/reward/label"
)

// labelFileCmds are what rapport label has for files and figures.
func (a *app) labelFileCmds() []*cobra.Command {
	return []*cobra.Command{a.labelExportCmd(), a.labelImportCmd(), a.labelAgreementCmd()}
}

func (a *app) labelExportCmd() *cobra.Command {
	d := drivers{a: a}
	out := "-"
	cmd := &cobra.Command{
		Use:   "export [SESSION]",
		Short: "Write a session's labels as JSON lines",
		Long: `Write all that people said in a session, what they took back too, as JSON lines
in the order in which it was stored (docs/labels.md). The session may run.`,
		Example: `  rapport label export runs/group-001 > labels.jsonl`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return d.withBook(cmd, args, 0, func(ctx context.Context, b label.Book) error {
				ls, err := b.Labels(ctx)
				if err != nil {
					return err
				}
				if out == "-" {
					return label.Write(a.stdout, ls)
				}
				var lines bytes.Buffer
				if err := label.Write(&lines, ls); err != nil {
					return err
				}
				return whole.Write(out, lines.Bytes())
			})
		},
	}
	d.flags(cmd)
	cmd.Flags().StringVarP(&out, "out", "o", out, "file to write; -: standard output")
	return cmd
}

func (a *app) labelImportCmd() *cobra.Command {
	d := drivers{a: a}
	cmd := &cobra.Command{
		Use:   "import FILE [SESSION]",
		Short: "Append labels from JSON lines to a session's",
		Long: `Append labels from JSON lines (- is standard input) to those of a session, which
may run. Nothing is appended if a line is bad, and an id that the session has is
left as it is, so that a file may be imported again.`,
		Example: `  rapport label import labels.jsonl runs/group-002`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("name a file of labels, as rapport label export writes it, or - for standard input")}
			}
			return d.withBook(cmd, args, 1, func(ctx context.Context, b label.Book) error {
				ls, err := readLabels(args[0])
				if err != nil {
					return fmt.Errorf("%s: %w; nothing was appended", args[0], err)
				}
				fresh := 0
				for i, l := range ls {
					added, err := b.Append(ctx, l)
					if err != nil {
						return fmt.Errorf("label %d of %d: %w; those before it are stored, import the file again", i+1, len(ls), err)
					}
					if added {
						fresh++
					}
				}
				if _, err = fmt.Fprintf(a.stdout, "labels  %d read, %d of them new\n", len(ls), fresh); err != nil || d.url != "" {
					return err // the episodes are elsewhere
				}
				c, err := a.configured(config.Whereabouts) // of which withBook has told
				if err != nil {
					return err
				}
				dir, err := d.folder(c)
				if err != nil {
					return err
				}
				return a.tellAbsent(ctx, ls, dir)
			})
		},
	}
	d.flags(cmd)
	return cmd
}

// tellAbsent says how many of ls are about episodes that the session in dir does not hold.
// They are no error: of a recording beside it (--bag) the folder holds nothing, either.
func (a *app) tellAbsent(ctx context.Context, ls []label.Label, dir string) error {
	clips, err := wire.NewClips(dir, nil, nil)
	if err != nil {
		return err
	}
	held, err := clips.Episodes(ctx)
	if err != nil {
		return err
	}
	n, first := 0, ""
	for _, l := range ls {
		i := slices.IndexFunc(l.Query.Clips, func(c label.Clip) bool { return !slices.Contains(held, c.Episode) })
		if i < 0 {
			continue
		}
		if n++; first == "" {
			first = l.Query.Clips[i].Episode
		}
	}
	if n == 0 {
		return nil
	}
	_, err = fmt.Fprintf(a.stderr, "note: %d of them are about episodes that %s does not hold, as %s: are they of another session, or of a recording beside it (--bag)?\n", n, dir, first)
	return err
}

func readLabels(name string) (ls []label.Label, err error) {
	var r io.ReadCloser = os.Stdin
	if name != "-" {
		if r, err = os.Open(name); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, r.Close()) }()
	}
	return label.Read(r)
}

func (a *app) labelAgreementCmd() *cobra.Command {
	d := drivers{a: a}
	cmd := &cobra.Command{
		Use:   "agreement [SESSION]",
		Short: "Say how far the people who labelled a session agree",
		RunE: func(cmd *cobra.Command, args []string) error {
			return d.withBook(cmd, args, 0, func(ctx context.Context, b label.Book) error {
				ls, err := b.Labels(ctx)
				if err != nil {
					return err
				}
				return printAgreement(a.stdout, label.Agree(ls))
			})
		},
	}
	d.flags(cmd)
	return cmd
}

func printAgreement(out io.Writer, g label.Agreement) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if g.Questions == 0 {
		fmt.Fprintln(w, "nobody was asked what another was asked; rapport label --shared 1 asks everybody everything")
		return w.Flush()
	}
	fmt.Fprintf(w, "ANNOTATORS\tQUESTIONS\tSAME ANSWER\tKAPPA\n")
	for _, b := range g.Between {
		fmt.Fprintf(w, "%s, %s\t%d\t%.2f\t%.2f\n", b.A, b.B, b.Questions, b.Share, b.Kappa)
	}
	fmt.Fprintf(w, "all\t%d\t%.2f\talpha %.2f\n", g.Questions, g.Share, g.Alpha)
	return w.Flush()
}

// withBook calls f with the labels of the session that args name after the first
// skip: over the bus while a process drives it, else in its folder.
func (d *drivers) withBook(cmd *cobra.Command, args []string, skip int, f func(context.Context, label.Book) error) (err error) {
	switch {
	case len(args) > skip+1:
		return usageError{fmt.Errorf("accepts at most %d arguments, received %d", skip+1, len(args))}
	case len(args) == skip+1 && d.session != "":
		return usageError{errors.New("the session is named twice: as an argument and by --session")}
	case len(args) == skip+1:
		d.session = args[skip]
	}
	ctx := cmd.Context()
	c, err := d.a.finds()
	if err != nil {
		return err
	}
	at := bus.Address{Session: d.session, URL: d.url, User: c.Bus.User, Password: c.Bus.Password}
	if d.url == "" {
		dir, err := d.folder(c)
		if err != nil {
			return err
		}
		var name string
		if at, name, err = bookAt(dir); errors.Is(err, bus.ErrNone) {
			b, err := wire.OpenBook(ctx, dir, wire.Options{Log: d.a.log})
			if err != nil {
				return err
			}
			return errors.Join(f(ctx, b), b.Close())
		} else if err != nil {
			return err
		}
		at.Session = name
	} else if at.Session == "" {
		at.Session = wire.SessionName(c)
	}
	conn, err := d.dial(ctx, at)
	if err != nil {
		return err
	}
	defer conn.Close()
	return f(ctx, conn.Book(at.Session))
}
