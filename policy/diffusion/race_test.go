//go:build race

package diffusion

// slow says that the race detector is on, under which Go takes several times as
// long: learning is then shown by fewer networks.
const slow = true
