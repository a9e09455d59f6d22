package payout

// What people read about the values of the vocabulary, on the command line and
// in Temporal's UI alike. A value without words is shown as it is.

var moneyWords = map[MoneyAt]string{
	MoneyHeld:     "set aside, still the player's",
	MoneyPaid:     "it left for the player's bank",
	MoneyReleased: "in the player's balance again",
	MoneyFrozen:   "set aside for a regulatory reason",
	MoneyReturned: "sent back by the bank, in the player's balance again",
}

var reasonWords = map[Reason]string{
	ReasonInsufficientFunds: "the merchant account has too little money",
	ReasonSchemeError:       "a fault at the payment scheme",
	ReasonServerError:       "a fault at the provider",
	ReasonInvalidIBAN:       "the account that paid in cannot be paid to",
	ReasonInvalidScan:       "sort code and account number lead nowhere",
	ReasonScanConversion:    "sort code and account number lead nowhere",
	ReasonBlocked:           "a regulatory stop",
	ReasonReturned:          "the bank sent it back",
	ReasonUnknown:           "the provider gives no other reason",
	ReasonRefused:           "the provider refused it at creation",
}

var caseWords = map[CaseKind]string{
	CaseUnknownOutcome:    "did the provider ever get it?",
	CaseMismatch:          "is what the provider speaks of ours?",
	CaseSlow:              "why does it take so long?",
	CaseContradiction:     "which of the provider's words is true?",
	CaseUnmatchedEvent:    "whose is this event?",
	CaseUnmatchedLine:     "whose is this line of the statement?",
	CaseReturnUnconfirmed: "did the bank send it back?",
	CaseBlocked:           "may the frozen money be let go?",
	CaseExposure:          "who bears what was paid although it was credited back?",
	CaseCredentials:       "why does the provider not let us in?",
	CaseShortage:          "who puts money into the merchant account?",
}

// InWords says where the money is: "held: set aside, still the player's".
func (m MoneyAt) InWords() string { return string(m) + after(": ", moneyWords[m]) }

// InWords says what the reason means to the house, which is not what the
// player is told (see PlayerMessage); "" for a value that is not listed.
func (r Reason) InWords() string { return reasonWords[r] }

// InWords is the question that a case of this kind asks.
func (k CaseKind) InWords() string { return caseWords[k] }

func after(sign, words string) string {
	if words == "" {
		return ""
	}
	return sign + words
}
