package wire

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/reward/label/query"
	"github.com/rapport-rl/rapport/reward/rapl"
	"github.com/rapport-rl/rapport/sim"
	"github.com/rapport-rl/rapport/sim/person"
)

const (
	// nobody is the annotator's name where there is one taste.
	nobody = "simulated"
	// askPrefix begins the IDs of the questions that a session asks by itself.
	askPrefix = "ask-"
	// breather is the pause after people.sitting questions.
	breather = 10 * time.Minute
	// offers is how many questions the most informative is chosen from (ours).
	offers = 200
)

// crowd are the people who answer, as configured.
func (s *Session) crowd(truths [][]sim.Truth, videos []rapl.Video) (*person.Crowd, error) {
	c := s.cfg.People
	film := person.Footage{}
	var clock time.Time
	for i, ts := range truths {
		film[videos[i].Name] = ts
		if end := ts[len(ts)-1].Stamp; end.After(clock) {
			clock = end // they have seen them all
		}
	}
	habits := person.Habits{Noise: c.Noise, Ties: c.Ties, Unsure: c.Unsure, Fatigue: c.Fatigue, Bias: c.Bias}
	return person.NewCrowd(draw(s.cfg.Seed, people, -2), habits, tastes(c), film, clock)
}

func tastes(c config.People) []person.Group {
	if len(c.Groups) == 0 {
		return []person.Group{{Name: nobody, Share: 1, Taste: person.Nearness()}}
	}
	var out []person.Group
	for _, g := range c.Groups {
		out = append(out, person.Group{Name: nobody + "-" + g.Name, Share: g.Share,
			Taste: person.Taste{Distance: g.Distance, Early: g.Early, Disliked: g.Disliked, Rough: g.Rough, Undesired: g.Undesired}})
	}
	return out
}

// survey asks which of two videos is more like one that who likes, until
// reward.triplets answers decide or a pile in which twenty pairs of one tell nothing
// is given up. An answer that an earlier life of the session has is not asked for
// again. It returns the answers in the order of the questions.
func (s *Session) survey(ctx context.Context, who *person.Person, truths [][]sim.Truth, videos []rapl.Video) ([]label.Label, error) {
	liked := who.Pick(truths, len(truths))
	if len(liked) == 0 || len(truths) < 3 {
		return nil, nil
	}
	crowd, err := s.crowd(truths, videos)
	if err != nil {
		return nil, err
	}
	had, err := s.answered(ctx)
	if err != nil {
		return nil, err
	}
	ask := &asker{s: s, liked: liked, videos: videos, rng: rand.New(rand.NewPCG(draw(s.cfg.Seed, people, -1), 0))}
	want := s.cfg.Reward.Triplets
	var said []label.Label
	for range 20 * want {
		if ask.decided == want {
			break
		}
		q, err := ask.next(said)
		if err != nil {
			return nil, err
		}
		if q.Clips == nil {
			continue
		}
		l, ok := had[q.ID]
		switch {
		case !ok:
			if l, err = crowd.Answer(ctx, q); err == nil {
				_, err = s.Book().Append(ctx, l)
			}
			if err != nil {
				return nil, err
			}
		case !slices.EqualFunc(l.Query.Clips, q.Clips, func(a, b label.Clip) bool { return a.Episode == b.Episode }):
			return nil, fmt.Errorf("wire: label %s in %s answers another question than this session asks as %s; begin anew under another name: rapport run --set name=%s-2", l.ID, s.Dir(), q.ID, s.name)
		default:
			crowd.Recall(l)
		}
		said = append(said, l)
		if l.Choice == label.Left || l.Choice == label.Right {
			ask.decided++
		}
		if n := s.cfg.People.Sitting; n > 0 && len(said)%n == 0 {
			crowd.Rest(breather)
		}
	}
	return said, nil
}

// answered are the answers that the session has to its own questions, by these.
func (s *Session) answered(ctx context.Context) (map[string]label.Label, error) {
	all, err := s.Book().Labels(ctx)
	had := map[string]label.Label{}
	for _, l := range label.Standing(all) {
		if strings.HasPrefix(l.Query.ID, askPrefix) && strings.HasPrefix(l.Annotator, nobody) {
			had[l.Query.ID] = l
		}
	}
	return had, err
}

// asker chooses questions.
type asker struct {
	s       *Session
	liked   []int
	videos  []rapl.Video
	rng     *rand.Rand
	decided int
	pooled  map[string][]float64 // features of videos, for the choice by information
}

// next is the question after those that were answered. It has no clips where the
// draw fell on the same video twice.
func (a *asker) next(said []label.Label) (label.Query, error) {
	id := fmt.Sprintf("%s%06d", askPrefix, len(said))
	if a.s.cfg.Reward.Query == "random" {
		q, ok := a.offer(id, a.rng)
		q.Why = "random"
		if !ok {
			q.Clips = nil
		}
		return q, nil
	}
	// A source of its own for each question, so that an answer that is known already
	// changes nothing.
	rng := rand.New(rand.NewPCG(draw(a.s.cfg.Seed, people, -1), uint64(len(said))+1))
	var from []label.Query
	for range 20 * offers {
		if q, ok := a.offer(id, rng); ok {
			from = append(from, q)
		}
		if len(from) == offers {
			break
		}
	}
	if len(from) == 0 {
		return label.Query{ID: id}, nil
	}
	belief, err := a.belief(said, rng)
	if err != nil {
		return label.Query{}, err
	}
	i, gain, err := query.Informative{Belief: belief}.Choose(from)
	if err != nil {
		return label.Query{}, err
	}
	q := from[i]
	q.Why, q.Gain = "information", gain
	return q, nil
}

// offer draws a liked video and two others.
func (a *asker) offer(id string, rng *rand.Rand) (q label.Query, ok bool) {
	k, i, j := a.liked[rng.IntN(len(a.liked))], rng.IntN(len(a.videos)), rng.IntN(len(a.videos))
	q = label.Query{ID: id, Kind: label.Triplet}
	for _, n := range []int{k, i, j} {
		q.Clips = append(q.Clips, label.Clip{Episode: a.videos[n].Name})
	}
	return q, i != j && i != k && j != k
}

// belief is what the answers say of the videos' features.
func (a *asker) belief(said []label.Label, rng *rand.Rand) (query.Belief, error) {
	if a.pooled == nil {
		a.pooled = pool(a.videos)
	}
	var answers []query.Answer
	dim := len(a.pooled[a.videos[0].Name])
	for _, x := range label.Triplets(said) {
		better, worse := a.pooled[x.Better.Episode], a.pooled[x.Worse.Episode]
		y := query.Answer{X: make([]float64, dim), Left: 1}
		if x.Tie {
			y.Left = 0.5
		}
		for d := range dim {
			y.X[d] = better[d] - worse[d]
		}
		answers = append(answers, y)
	}
	// Utilities differ by a few units of the noise before any answer (ours).
	l, err := query.Fit(answers, dim, query.Config{Prior: 3 / math.Sqrt(float64(dim)), Source: rand.NewPCG(rng.Uint64(), rng.Uint64())})
	if err != nil {
		return nil, err
	}
	return l.Of(func(c label.Clip) ([]float64, error) { return a.pooled[c.Episode], nil }), nil
}

// pool makes features of each video of its mean frame and its last one, of mean 0
// and deviation 1 over the videos.
func pool(videos []rapl.Video) map[string][]float64 {
	out := map[string][]float64{}
	for _, v := range videos {
		f := make([]float64, 2*v.D)
		for i, x := range v.Embed {
			f[i%v.D] += float64(x) / float64(v.Len())
		}
		for d, x := range v.Embed[len(v.Embed)-v.D:] {
			f[v.D+d] = float64(x)
		}
		out[v.Name] = f
	}
	n := float64(len(videos))
	for d := range 2 * videos[0].D {
		var mean, square float64
		for _, v := range videos {
			mean += out[v.Name][d] / n
		}
		for _, v := range videos {
			out[v.Name][d] -= mean
			square += out[v.Name][d] * out[v.Name][d] / n
		}
		for _, v := range videos {
			if square > 0 {
				out[v.Name][d] /= math.Sqrt(square)
			}
		}
	}
	return out
}
