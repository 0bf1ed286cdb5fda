package config

import (
	"fmt"
	"slices"
)

// answers says whether person is one of the simulated people.
func (c People) answers(person string) bool {
	return slices.ContainsFunc(c.Groups, func(g Group) bool { return person == g.Name || person == "simulated-"+g.Name }) || len(c.Groups) == 0 && person == "simulated"
}

// validate says what is wrong with who answers in simulation.
func (c People) validate(p *problems) {
	p.within("people.noise", c.Noise, 0, 100)
	p.within("people.ties", c.Ties, 0, 100)
	p.within("people.unsure", c.Unsure, 0, 0.99)
	p.within("people.fatigue", c.Fatigue, 0, 1)
	p.within("people.sitting", float64(c.Sitting), 0, 1e6)
	p.within("people.bias", c.Bias, -0.99, 0.99)
	seen := map[string]bool{}
	for i, g := range c.Groups {
		key := fmt.Sprintf("people.groups[%d]", i)
		p.need(g.Name != "" && fileName.MatchString(g.Name) && !seen[g.Name], key+".name", "is %q; want a name of its own of letters, digits, - and _", g.Name)
		seen[g.Name] = true
		p.within(key+".share", g.Share, 1e-6, 1e6)
		for name, w := range map[string]float64{"distance": g.Distance, "early": g.Early, "disliked": g.Disliked, "rough": g.Rough, "undesired": g.Undesired} {
			p.within(key+"."+name, w, -1e3, 1e3)
		}
		p.need(g.Distance != 0 || g.Early != 0 || g.Disliked != 0 || g.Rough != 0 || g.Undesired != 0, key, "weighs nothing; want at least one of distance, early, disliked, rough and undesired")
	}
}
