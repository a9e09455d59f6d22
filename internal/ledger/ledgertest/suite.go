package ledgertest

import (
	"testing"
)

// group is a part of the promise: its cases by name.
type group map[string]func(house)

// Run holds books to the promise. open answers with new, empty books on the
// clock that comes with them; they are to be closed by a cleanup.
func Run(t *testing.T, open func(t *testing.T) Books) {
	for name, cases := range map[string]group{
		"movements": movements, "accept": accepting, "send": sending, "judge": judging, "decide": deciding, "steps": stepping,
		"late": lateWords, "late word": lateNews, "look": looking, "doubt": doubting, "brake": braking, "shortage": shortages, "drift": drifting, "unmatched": unmatched, "refunds": refunding, "people": deciders, "resolve": resolving, "news": reporting, "outbox": telling, "reading": reading, "stats": counting, "positions": sealing, "append only": keeping, "together": together,
	} {
		t.Run(name, func(t *testing.T) {
			for name, run := range cases {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					h := house{t, open(t), t.Context(), t}
					run(h)
					if !tampers[name] {
						h.Lawful(t)
					}
				})
			}
		})
	}
}
