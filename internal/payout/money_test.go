package payout

import (
	"errors"
	"math"
	"testing"
)

func TestAdd(t *testing.T) {
	const most, least = math.MaxInt64, math.MinInt64
	for name, c := range map[string]struct {
		a, b Money
		want int64
		err  error
	}{
		"two":             {Money{1, "GBP"}, Money{2, "GBP"}, 3, nil},
		"nothing":         {Money{1, "GBP"}, Money{0, "GBP"}, 1, nil},
		"to the brim":     {Money{most - 1, "GBP"}, Money{1, "GBP"}, most, nil},
		"one too many":    {Money{most, "GBP"}, Money{1, "GBP"}, 0, ErrOverflow},
		"both huge":       {Money{most, "GBP"}, Money{most, "GBP"}, 0, ErrOverflow},
		"to the ground":   {Money{least + 1, "GBP"}, Money{-1, "GBP"}, least, nil},
		"one too few":     {Money{least, "GBP"}, Money{-1, "GBP"}, 0, ErrOverflow},
		"both very small": {Money{least, "GBP"}, Money{least, "GBP"}, 0, ErrOverflow},
		"far apart":       {Money{most, "GBP"}, Money{least, "GBP"}, -1, nil},
		"mixed":           {Money{1, "GBP"}, Money{1, "EUR"}, 0, ErrMixedCurrencies},
		"mixed with none": {Money{1, "GBP"}, Money{0, ""}, 0, ErrMixedCurrencies},
	} {
		t.Run(name, func(t *testing.T) {
			for _, pair := range [][2]Money{{c.a, c.b}, {c.b, c.a}} {
				got, err := pair[0].Add(pair[1])
				if !errors.Is(err, c.err) || got.Minor != c.want || (err != nil && got != (Money{})) {
					t.Errorf("%v + %v is %v, %v; want %d, %v", pair[0], pair[1], got, err, c.want, c.err)
				}
			}
		})
	}
}

func TestMoneyForPeople(t *testing.T) {
	for want, m := range map[string]Money{
		"£10.00": {1000, "GBP"}, "£0.05": {5, "GBP"}, "-€0.05": {-5, "EUR"}, "zł 1.50": {150, "PLN"}, "12.34 SEK": {1234, "SEK"}, "7 JPY": {7, "JPY"}, "1.234 KWD": {1234, "KWD"}, "100.00 HUF": {10000, "HUF"}, "£0.00": {0, "GBP"},
		"£999.99": {99999, "GBP"}, "£1,000.00": {100000, "GBP"}, "-£1,234.50": {-123450, "GBP"}, "zł 123,456.00": {12345600, "PLN"}, "1,234,567 JPY": {1234567, "JPY"}, "100 JPY": {100, "JPY"},
		"-£92,233,720,368,547,758.08": {math.MinInt64, "GBP"}, "£92,233,720,368,547,758.07": {math.MaxInt64, "GBP"},
	} {
		if got := m.String(); got != want {
			t.Errorf("%d %s reads %q, want %q", m.Minor, m.Currency, got, want)
		}
	}
}

func TestCurrencyForm(t *testing.T) {
	for c, want := range map[Currency]bool{"GBP": true, "XXX": true, "": false, "gbp": false, "GB": false, "GBPX": false, "G P": false, "GB£": false, "ÄÖÜ": false} {
		if c.Valid() != want {
			t.Errorf("%q valid is %v", c, !want)
		}
	}
}
