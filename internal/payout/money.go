package payout

import (
	"errors"
	"fmt"
	"math"
	"strconv"
)

// Currency is an ISO 4217 code in capitals, such as "GBP".
type Currency string

// decimals tells how many digits the minor unit has where they are not two, for
// the eyes of people only. Source: ISO 4217, list one.
var decimals = map[Currency]int{
	"BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "ISK": 0, "JPY": 0, "KMF": 0, "KRW": 0, "PYG": 0, "RWF": 0, "UGX": 0, "UYI": 0, "VND": 0, "VUV": 0, "XAF": 0, "XOF": 0, "XPF": 0,
	"BHD": 3, "IQD": 3, "JOD": 3, "KWD": 3, "LYD": 3, "OMR": 3, "TND": 3, "CLF": 4, "UYW": 4,
}

var symbols = map[Currency]string{"GBP": "£", "EUR": "€", "PLN": "zł ", "USD": "$"}

// Valid says whether c has the form of a currency code: three capital letters.
func (c Currency) Valid() bool {
	if len(c) != 3 {
		return false
	}
	for _, r := range c {
		if r < 'A' || r > 'Z' {
			return false
		}
	}
	return true
}

// Money is an exact count of minor units (pence, cents) of one currency.
type Money struct {
	Minor    int64    `json:"amount_in_minor"`
	Currency Currency `json:"currency"`
}

var (
	// ErrMixedCurrencies refuses a sum over two currencies.
	ErrMixedCurrencies = errors.New("currencies differ")
	// ErrOverflow refuses a sum that does not fit 64 bits.
	ErrOverflow = errors.New("amount does not fit 64 bits")
)

// Add sums two amounts.
//
//	Units:  minor units of one currency
//	Errors: ErrMixedCurrencies, ErrOverflow; nothing is rounded or wrapped
func (m Money) Add(n Money) (Money, error) {
	if m.Currency != n.Currency {
		return Money{}, fmt.Errorf("add %s to %s: %w", n.Currency, m.Currency, ErrMixedCurrencies)
	}
	if (n.Minor > 0 && m.Minor > math.MaxInt64-n.Minor) || (n.Minor < 0 && m.Minor < math.MinInt64-n.Minor) {
		return Money{}, fmt.Errorf("add %d to %d: %w", n.Minor, m.Minor, ErrOverflow)
	}
	return Money{m.Minor + n.Minor, m.Currency}, nil
}

// String shows the amount to people: "£1,234.50", "-€0.05", "12.34 SEK".
func (m Money) String() string {
	places, ok := decimals[m.Currency]
	if !ok {
		places = 2
	}
	sign, magnitude := "", uint64(m.Minor)
	if m.Minor < 0 {
		sign, magnitude = "-", -uint64(m.Minor)
	}
	digits, fraction := strconv.FormatUint(magnitude, 10), ""
	if places > 0 {
		for len(digits) <= places {
			digits = "0" + digits
		}
		digits, fraction = digits[:len(digits)-places], "."+digits[len(digits)-places:]
	}
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	digits += fraction
	if symbol, ok := symbols[m.Currency]; ok {
		return sign + symbol + digits
	}
	return sign + digits + " " + string(m.Currency)
}
