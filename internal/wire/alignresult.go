package wire

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/policy"
)

// evaluate runs both policies on the same fresh starts.
func (a *Alignment) evaluate(ctx context.Context) (string, error) {
	t, err := a.lastTuning()
	if errors.Is(err, os.ErrNotExist) {
		return "", a.before(AlignTune)
	}
	if err != nil {
		return "", err
	}
	r, v, b, err := a.tuned(ctx, t)
	if err != nil {
		return "", err
	}
	if err := a.offer(b); err != nil {
		return "", err
	}
	out, err := a.told(ctx, r)
	if err != nil {
		return "", err
	}
	out.Aligner, out.Round, out.KL = t.By, t.Report.Best, t.kept().KL
	out.Policy, out.Rankings = a.file(policyFile), a.file(rankingFile)
	before, err := a.did(ctx, "before", a.p.clone, &out.Before)
	if err != nil {
		return "", err
	}
	after, err := a.did(ctx, "after", policy.Params{Version: v, Data: b}, &out.After)
	if err != nil {
		return "", err
	}
	out.People, out.Worse = a.regards(before, after), worse(out.Before.Success, out.After.Success)
	return "on " + fmt.Sprint(out.After.Success.Of) + " fresh starts", a.write(resultFile, out)
}

// worse says whether less is done after than before, by intervals that are apart.
func worse(before, after report.Share) bool {
	least, _ := before.Wilson()
	_, most := after.Wilson()
	return most < least
}

// told is what is known before anything is learned of the rankings.
func (a *Alignment) told(ctx context.Context, r rankings) (Aligned, error) {
	said, _, ls, err := a.orders(ctx)
	return Aligned{By: r.By, Person: strings.Join(annotators(ls), ", "), Answers: len(ls), Decided: len(said), Rollouts: len(r.Order), Right: r.Right}, err
}

// did evaluates parameters on the session's fresh starts, and counts in r.
func (a *Alignment) did(ctx context.Context, when string, of policy.Params, r *AlignedResult) (verdict, error) {
	v, err := a.s.verdict(ctx, when, a.p, of)
	if err != nil {
		return v, err
	}
	m, err := a.s.manner(ctx, when)
	*r = resultOf(v, m)
	return v, err
}

// resultOf counts episodes of the verdict v that were done in the manner m.
func resultOf(v verdict, m manner) AlignedResult {
	return AlignedResult{Success: share(v.Won), Preferred: report.Share{Hits: m.Preferred, Of: m.Of}, Undesired: report.Share{Hits: m.Undesired, Of: m.Of}}
}
