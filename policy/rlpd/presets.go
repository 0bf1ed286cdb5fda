package rlpd

import "github.com/rapport-rl/rapport/policy/bc"

// StatePaper is what Ball et al. 2023 use on states (table 3 and their code) for
// a policy of shape a: twenty critic steps, then one of the actor, for every tick
// of the arm, so Round is to be the ticks of an episode. Their table starts
// learning after 5,000 ticks of random actions; here that is a matter of what is
// added before the first Update.
func StatePaper(a bc.Arch) Config {
	return Config{
		Arch: a, Gamma: 0.99, Batch: 256, Demos: 0.5, UTD: 20,
		Critics: 10, CriticHidden: []int{256, 256}, Subset: 2, Tau: 0.005,
		CriticLR: 3e-4, ActorLR: 3e-4, AlphaLR: 3e-4,
		Alpha: 1, TargetEntropy: half(a), EntropyBackup: true,
	}
}

// PixelsPaper is what they use on pixels, but for the encoder.
func PixelsPaper(a bc.Arch) Config {
	c := StatePaper(a)
	c.UTD, c.Subset, c.Alpha, c.EntropyBackup = 1, 1, 0.1, false
	return c
}

// HILSERL is what Luo et al. 2024 (arXiv:2410.21845) tune real arms with, by
// their code: two critics, two steps of theirs for one of the actor, a low
// temperature and a short horizon. Their pretrained encoder, their tanh layers
// and their warm-up of the learning rate are left out.
func HILSERL(a bc.Arch) Config {
	return Config{
		Arch: a, Gamma: 0.97, Batch: 256, Demos: 0.5, UTD: 2,
		Critics: 2, CriticHidden: []int{256, 256}, Subset: 2, Tau: 0.005,
		CriticLR: 3e-4, ActorLR: 3e-4, AlphaLR: 3e-4,
		Alpha: 0.01, TargetEntropy: half(a),
	}
}

// half is the target entropy in the codes of both: minus half a nat an action.
func half(a bc.Arch) float64 { return -float64(a.View.Action.Dim()) / 2 }
