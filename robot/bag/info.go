package bag

import (
	"cmp"
	"slices"
)

// tally fills in what chunks and connections tell of topics.
func tally(info *Info, chunks []chunk, conns []*Connection) {
	type line struct {
		n          int64
		start, end int64
	}
	per := map[uint32]*line{}
	for _, c := range conns {
		per[c.ID] = &line{}
	}
	for i := range chunks {
		c := &chunks[i]
		for _, h := range c.conns {
			l := per[h.conn]
			if l == nil {
				continue
			}
			if l.n == 0 || c.start < l.start {
				l.start = c.start
			}
			l.end = max(l.end, c.end)
			l.n += int64(h.n)
		}
		info.span(c.start, c.end)
	}
	for _, c := range conns {
		l := per[c.ID]
		info.add(c, l.n, l.start, l.end)
	}
	info.sort()
}

// span widens the time that the recording covers.
func (i *Info) span(start, end int64) {
	if from := unix(start); i.Start.IsZero() || from.Before(i.Start) {
		i.Start = from
	}
	if to := unix(end); to.After(i.End) {
		i.End = to
	}
}

// add counts n messages of a connection, between start and end.
func (i *Info) add(c *Connection, n, start, end int64) {
	at := slices.IndexFunc(i.Topics, func(t Topic) bool {
		return t.Name == c.Topic && t.Type == c.Type && t.MD5 == c.MD5 && t.Encoding == c.Encoding
	})
	if at < 0 {
		at = len(i.Topics)
		i.Topics = append(i.Topics, Topic{Name: c.Topic, Type: c.Type, MD5: c.MD5, Encoding: c.Encoding})
	}
	t := &i.Topics[at]
	t.Connections++
	i.Messages += n
	if n == 0 {
		return
	}
	if from := unix(start); t.Count == 0 || from.Before(t.Start) {
		t.Start = from
	}
	if to := unix(end); to.After(t.End) {
		t.End = to
	}
	t.Count += n
}

func (i *Info) sort() {
	slices.SortStableFunc(i.Topics, func(a, b Topic) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Type, b.Type))
	})
	for k := range i.Topics {
		t := &i.Topics[k]
		if d := t.End.Sub(t.Start).Seconds(); d > 0 && t.Count > 1 {
			t.Hz = float64(t.Count-1) / d
		}
	}
}
