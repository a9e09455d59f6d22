package ledger_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"payouts/internal/ledger"
	"payouts/internal/ledger/ledgertest"
	"payouts/internal/payout"
)

// A process of its own is this test binary again, with the file to hammer in
// its environment.
const (
	hammerFile = "LEDGER_HAMMER_FILE"
	hammerName = "LEDGER_HAMMER_NAME"
	hammerOps  = 5000 // of each of two processes
)

func TestMain(m *testing.M) {
	if file := os.Getenv(hammerFile); file != "" {
		if err := hammer(file, os.Getenv(hammerName)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// Two processes hammer accept and webhooks on one SQLite file and see no
// error, and the books are exact afterwards.
func TestTwoProcessesOneFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "books.db")
	l := openFile(t, file)
	const credit = 10_000_000
	if _, _, err := l.Credit(t.Context(), payout.Movement{Caller: ledgertest.Caller, IdempotencyKey: "k", PlayerID: ledgertest.Player, Money: ledgertest.Pounds(credit), Reason: "winnings"}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.BindSource(t.Context(), payout.Source{Caller: ledgertest.Caller, PlayerID: ledgertest.Player, PaymentSourceID: ledgertest.Source, UserID: ledgertest.User, Currency: "GBP"}); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	var wait sync.WaitGroup
	var mu sync.Mutex
	total := map[string]int{}
	for _, name := range []string{"a", "b"} {
		wait.Go(func() {
			child := exec.CommandContext(t.Context(), self)
			child.Env = append(os.Environ(), hammerFile+"="+file, hammerName+"="+name)
			var said, wrong strings.Builder
			child.Stdout, child.Stderr = &said, &wrong
			if err := child.Run(); err != nil {
				t.Errorf("process %s: %v\n%s", name, err, wrong.String())
				return
			}
			for lines := bufio.NewScanner(strings.NewReader(said.String())); lines.Scan(); {
				var what string
				var n int
				if _, err := fmt.Sscan(lines.Text(), &what, &n); err == nil {
					mu.Lock()
					total[what] += n
					mu.Unlock()
				}
			}
		})
	}
	wait.Wait()
	t.Logf("%d operations in %s: %v", 2*hammerOps, time.Since(began).Round(time.Millisecond), total)
	if t.Failed() {
		return
	}
	if got := total["accept"] + total["replay"] + total["news"] + total["settle"]; got != 2*hammerOps {
		t.Fatalf("%d operations reported, want %d", got, 2*hammerOps)
	}
	balances, err := l.Balances(t.Context(), "", ledgertest.Player)
	if err != nil {
		t.Fatal(err)
	}
	paid, held := int64(total["settle"])*100, int64(total["accept"]-total["settle"])*100
	if b := balances[0]; b.Available != credit-paid-held || b.Held != held || b.Frozen != 0 {
		t.Fatalf("balances are %+v, want %d available and %d held", b, credit-paid-held, held)
	}
	books := ledgertest.Books{Ledger: l}
	books.Lawful(t)
}

func openFile(t testing.TB, file string) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(context.Background(), ledger.Options{URL: "sqlite:" + file, Seal: ledgertest.SealKey(), Encode: ledgertest.Encode})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// hammer is the life of one of the two processes: it opens the file, works on
// it with four hands at once, and says what it did.
func hammer(file, name string) error {
	ctx := context.Background()
	l, err := ledger.Open(ctx, ledger.Options{URL: "sqlite:" + file, Seal: ledgertest.SealKey(), Encode: ledgertest.Encode})
	if err != nil {
		return err
	}
	defer l.Close()
	const hands = 4
	var wait sync.WaitGroup
	var mu sync.Mutex
	did, errs := map[string]int{}, []error(nil)
	for hand := range hands {
		wait.Go(func() {
			random := rand.New(rand.NewPCG(uint64(hand), uint64(name[0])))
			var open []payout.ID
			for n := range hammerOps / hands {
				what, err := blow(ctx, l, fmt.Sprint(name, "/", hand, "/", n), &open, random)
				mu.Lock()
				did[what]++
				if err != nil {
					errs = append(errs, fmt.Errorf("%s %s/%d/%d: %w", what, name, hand, n, err))
				}
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	for what, n := range did {
		fmt.Println(what, n)
	}
	return errors.Join(errs...)
}

// blow is one operation: accept, its replay, a piece of news, or an attempt's
// whole way to settle.
func blow(ctx context.Context, l *ledger.Ledger, name string, open *[]payout.ID, random *rand.Rand) (string, error) {
	switch random.IntN(10) {
	case 0, 1, 2, 3:
		p, _, err := l.Accept(ctx, ledgertest.NewPayout(name, 100), ledgertest.Merchant, false)
		*open = append(*open, p.ID)
		return "accept", err
	case 4:
		if len(*open) > 0 {
			id := (*open)[0]
			*open = (*open)[1:]
			return "settle", settle(ctx, l, id)
		}
	case 5:
		if n := len(*open); n > 0 {
			row, err := l.Payout(ctx, "", payout.KindPayout, (*open)[n-1])
			if err != nil {
				return "replay", err
			}
			_, replayed, err := l.Accept(ctx, ledgertest.NewPayout(row.IdempotencyKey, 100), ledgertest.Merchant, false)
			if err == nil && !replayed {
				err = errors.New("accepted twice")
			}
			return "replay", err
		}
	}
	n := payout.News{EventID: "event-" + name, Type: "payout_executed", ProviderID: "nobody's", Status: "executed", Body: []byte("{}")}
	if len(*open) > 0 {
		n.PayoutID, n.Attempt = (*open)[len(*open)-1], 1
		n.ProviderID = "their-" + string(n.PayoutID)
	}
	if random.IntN(2) == 0 {
		n.EventID = "shared" // by both processes: repeats
	}
	_, err := l.StoreNews(ctx, n)
	return "news", err
}

// settle takes a payout from accepted to executed.
func settle(ctx context.Context, l *ledger.Ledger, id payout.ID) error {
	theirs := "their-" + string(id)
	s, _, err := l.OpenSend(ctx, id, time.Now().Add(time.Hour))
	if err != nil {
		return err
	}
	if s.Number > 0 {
		if _, err := l.CloseSend(ctx, s, payout.Created{Answer: payout.AnswerCreated, ProviderID: theirs}); err != nil {
			return err
		}
	}
	asking, err := l.Read(ctx, id)
	if err != nil {
		return err
	}
	if len(asking.Asks) != 1 {
		return fmt.Errorf("asks %+v", asking.Asks)
	}
	w := payout.Word{ProviderID: asking.Asks[0].ProviderID, Status: "executed", Money: ledgertest.Pounds(100), AskedAt: time.Now(), DecidedAt: time.Now()}
	p, err := l.Judge(ctx, id, payout.Heard{Words: []payout.Asked{{Attempt: 1, Word: w}}, Inbox: asking.Inbox, By: "hammer"})
	if err == nil && p.Status != payout.StatusExecuted {
		err = fmt.Errorf("position is %+v", p)
	}
	return err
}
