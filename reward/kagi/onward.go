package kagi

import "fmt"

// Onward says which waypoint lies within tolerance (0: Config's) of an earlier place of its stage,
// its start included, from which the way had led on: whoever stands there would be paid for the
// whole way. start has where points are at the reset, as far as it is known, and hands are those
// that are the hand's.
func Onward(legs []Leg, start map[string][3]float64, hands []string, tolerance float64) error {
	tolerance = Config{Tolerance: tolerance}.withDefaults().Tolerance
	for i, l := range legs {
		places, first := l.To, 1
		if p, ok := begins(legs, i, start, hands); ok {
			places, first = append([][3]float64{p}, l.To...), 0
		}
		for j, from := range places {
			away := false
			for k, p := range places[j+1:] {
				if distance(from, p) > tolerance {
					away = true
				} else if away {
					where := "where its stage begins"
					if j+first > 0 {
						where = fmt.Sprintf("waypoint %d", j+first)
					}
					return fmt.Errorf("kagi: stage %d, waypoint %d comes back to %s, within %g m, so that standing there would count as the whole way; make the way back a stage of its own", i+1, j+1+k+first, where, tolerance)
				}
			}
		}
	}
	return nil
}

// begins is where the point of stage i is when that begins: where the stage before has brought
// it, or where it is at the reset unless it was moved since. What other stages do with a hand is
// not known.
func begins(legs []Leg, i int, start map[string][3]float64, hands []string) (p [3]float64, ok bool) {
	name := legs[i].Point
	for k := i - 1; k >= 0; k-- {
		if l := legs[k]; l.Point == name {
			return l.To[len(l.To)-1], k == i-1
		}
		for _, h := range hands {
			if h == name {
				return p, false
			}
		}
	}
	p, ok = start[name]
	return p, ok
}

// Hands are the names of the points that are the hand's.
func (p Plan) Hands() []string {
	var names []string
	for _, k := range p.Points {
		if k.Hand {
			names = append(names, k.Name)
		}
	}
	return names
}

// Onward is Onward of a plan whose points are not seen yet: only places that are relative to the
// same are told to be near each other.
func (p Plan) Onward(tolerance float64) error {
	at := map[string][3]float64{}
	for i, k := range p.Points {
		apart := 1000 * float64(i+1) // m, along each axis from all that a plan can name otherwise
		at[k.Name] = [3]float64{apart, apart, apart}
		if k.Height != 0 {
			at[k.Name] = [3]float64{apart, apart, k.Height}
		}
	}
	legs, err := p.Fix(at)
	if err != nil {
		return err
	}
	return Onward(legs, at, p.Hands(), tolerance)
}
