package cli

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"payouts/internal/payout"
)

// Amount is how people give money on a command line: a decimal with every
// digit of the currency's minor unit, so that 10 cannot be taken for 10 pence
// by one reader and 10 pounds by another.
type Amount struct {
	Amount   string `required:"" placeholder:"10.00" help:"The amount with all its decimals: 10.00 is ten pounds; 10 and 10.5 are refused."`
	Currency string `required:"" placeholder:"GBP" help:"ISO 4217 code."`
}

var (
	decimal  = regexp.MustCompile(`^[0-9]{1,17}(\.[0-9]+)?$`)
	decimals = regexp.MustCompile(`\.[0-9]+`)
)

func (a Amount) money() (payout.Money, error) {
	currency := payout.Currency(a.Currency)
	if !currency.Valid() {
		return payout.Money{}, usageError{fmt.Errorf("--currency: %q: want three capital letters such as GBP", a.Currency)}
	}
	// The vocabulary knows how many decimals a currency has.
	places := max(len(decimals.FindString(payout.Money{Currency: currency}.String()))-1, 0)
	_, fraction, _ := strings.Cut(a.Amount, ".")
	if !decimal.MatchString(a.Amount) || len(fraction) != places {
		example := "10"
		if places > 0 {
			example += "." + strings.Repeat("0", places)
		}
		return payout.Money{}, usageError{fmt.Errorf("--amount: %q: want a decimal with %d digits after the point, such as %s", a.Amount, places, example)}
	}
	minor, err := strconv.ParseInt(strings.Replace(a.Amount, ".", "", 1), 10, 64)
	if err != nil {
		return payout.Money{}, usageError{fmt.Errorf("--amount: %q does not fit 64 bits of minor units", a.Amount)}
	}
	return payout.Money{Minor: minor, Currency: currency}, nil
}
