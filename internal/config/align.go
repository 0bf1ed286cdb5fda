package config

// Aligners lists the values of align.aligner.
func Aligners() []string {
	return []string{"d3po", "diffusion-dpo", "flow-dpo", "prdp", "dppo", "rwr", "seppo", "fdpo", "rm-filter", "ppd", "alignprop", "partial", "dragon", "pareto"}
}

// AlignersOf lists those that take a policy of a process. D3PO, PRDP and DPPO, by which
// Pareto learns, too, go by the densities of a chain's steps, which those of a flow have
// none of.
func AlignersOf(process string) []string {
	if process == "flow" {
		return []string{"flow-dpo", "rwr", "seppo", "fdpo", "rm-filter", "ppd", "alignprop", "partial", "dragon"}
	}
	return []string{"d3po", "diffusion-dpo", "prdp", "dppo", "rwr", "seppo", "fdpo", "rm-filter", "ppd", "alignprop", "partial", "dragon", "pareto"}
}

// Align is how a policy that draws chunks is brought to what people ranked.
type Align struct {
	Rollouts int    `yaml:"rollouts"`
	Labels   int    `yaml:"labels"`
	Ask      string `yaml:"ask"`
	Clips    int    `yaml:"clips"`
	// Query is how what is asked next is found.
	Query   string `yaml:"query"`
	By      string `yaml:"by"`
	Pairs   int    `yaml:"pairs"`
	Chunks  int    `yaml:"chunks"`
	Aligner string `yaml:"aligner"`
	Person  string `yaml:"person"`
	// Weigh is what tells how far the critic is trusted about a chunk. An alignment without is
	// known by the settings of before there was any.
	Weigh string `yaml:"weigh" json:",omitzero"`
	// Taste is what a person is to a policy that serves several.
	Taste    string  `yaml:"taste"`
	Beta     float64 `yaml:"beta"`
	Rehearse int     `yaml:"rehearse"` // gradient steps
	Best     float64 `yaml:"best"`     // share of the rollouts
	Rank     int     `yaml:"rank"`
	Rate     float64 `yaml:"rate"`
	Rounds   int     `yaml:"rounds"`
	Patience int     `yaml:"patience"`                // rounds
	Trials   int     `yaml:"trials" json:",omitzero"` // episodes; an alignment without is known by the settings of before there were any
	Budget   float64 `yaml:"budget"`                  // nats of a chain
	Lambda   float64 `yaml:"lambda"`
	Near     float64 `yaml:"near"` // nats of a chain
}

func (a Align) validate(p *problems) {
	p.within("align.rollouts", float64(a.Rollouts), 4, 1e5)
	p.within("align.labels", float64(a.Labels), 2, 1e5)
	p.oneOf("align.ask", a.Ask, "pair", "ranking", "segments")
	marks := a.Ask == "segments"
	p.need(!marks || a.By != "rapl", "align.by", "is rapl, which is like whole rollouts that people preferred, but align.ask is segments, which prefers none; want rlhf or labels")
	p.need(!marks || a.Labels <= a.Rollouts, "align.labels", "is %d, but align.ask is segments, which asks about each of the %d rollouts (align.rollouts) once at most", a.Labels, a.Rollouts)
	p.need(marks || a.Aligner != "fdpo", "align.aligner", "is fdpo, which learns from marks of parts of rollouts, but align.ask is %s; want align.ask segments", a.Ask)
	if a.Several() {
		p.need(a.By == "labels", "align.by", "is %s, which ranks for all alike, but align.aligner is %s, which learns what each person said; want labels", a.By, a.Aligner)
		p.need(!marks, "align.ask", "is segments, which compares no rollouts, but align.aligner is %s; want pair or ranking", a.Aligner)
	}
	if a.Aligner == "ppd" {
		p.need(a.Rank > 0, "align.rank", "is 0, but align.aligner is ppd, whose adapter is each person's; want 4")
		p.need(a.Person != "", "align.person", "is empty, but align.aligner is ppd; name whom of those who answered the policy is to serve")
	}
	p.oneOf("align.query", a.Query, "root", "random")
	p.within("align.clips", float64(a.Clips), 2, 8)
	p.oneOf("align.taste", a.Taste, "difference", "vpl")
	p.need(a.Taste == "difference" || a.Aligner == "ppd", "align.taste", "is %s, but align.aligner is %s, which is for all alike; want difference, or ppd", a.Taste, a.Aligner)
	p.oneOf("align.by", a.By, "rapl", "rlhf", "pal", "labels")
	p.need(a.By != "pal" || a.Person != "", "align.person", "is empty, but align.by is pal, which ranks for one of those who answered; name them")
	p.within("align.pairs", float64(a.Pairs), 1, 1e6)
	p.within("align.chunks", float64(a.Chunks), 0, 1000)
	p.oneOf("align.aligner", a.Aligner, Aligners()...)
	p.oneOf("align.weigh", a.Weigh, "none", "leverage", "doubt")
	p.within("align.beta", a.Beta, 0, 1e6)
	p.within("align.rehearse", float64(a.Rehearse), 0, 1000)
	p.within("align.best", a.Best, 0.01, 0.99)
	p.within("align.rank", float64(a.Rank), 0, 256)
	p.within("align.rate", a.Rate, 1e-7, 0.1)
	p.within("align.rounds", float64(a.Rounds), 1, 1e5)
	p.within("align.patience", float64(a.Patience), 0, 1e5)
	p.within("align.trials", float64(a.Trials), 0, 1e4)
	p.need(a.Trials == 0 || a.By != "labels", "align.trials", "is %d, but align.by is labels, which knows no episode but those that people answered about; want 0, or align.by rapl", a.Trials)
	p.within("align.budget", a.Budget, 1e-3, 1e6)
	p.within("align.lambda", a.Lambda, 0, 1)
	p.within("align.near", a.Near, 1e-3, 1e6)
}

// Several says whether the aligner learns what each of several people said, and does not
// take their answers for one person's.
func (a Align) Several() bool { return a.Aligner == "ppd" || a.Aligner == "pareto" }
