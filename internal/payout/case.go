package payout

import (
	"fmt"
	"slices"
	"time"
)

// CaseKind says what a person is asked about. Wire format: add, never rename.
type CaseKind string

const (
	CaseUnknownOutcome    CaseKind = "unknown_outcome"    // sent, never answered, and the key's window is over
	CaseMismatch          CaseKind = "mismatch"           // the provider speaks of another payout than we asked for
	CaseSlow              CaseKind = "slow"               // undecided for longer than STUCK_AFTER
	CaseContradiction     CaseKind = "contradiction"      // the provider says two things that cannot both be true
	CaseUnmatchedEvent    CaseKind = "unmatched_event"    // an event about a payout nobody asked for
	CaseUnmatchedLine     CaseKind = "unmatched_line"     // a statement line nobody can explain
	CaseReturnUnconfirmed CaseKind = "return_unconfirmed" // a signed return that the provider does not confirm
	CaseBlocked           CaseKind = "blocked"            // a regulatory stop; the money is frozen
	CaseExposure          CaseKind = "exposure"           // paid although the player was credited back
	CaseCredentials       CaseKind = "credentials"        // the provider does not let us in
	CaseShortage          CaseKind = "shortage"           // a merchant account cannot pay; treasury puts money in
)

// CaseKinds lists every kind.
func CaseKinds() []CaseKind {
	return []CaseKind{CaseUnknownOutcome, CaseMismatch, CaseSlow, CaseContradiction, CaseUnmatchedEvent, CaseUnmatchedLine,
		CaseReturnUnconfirmed, CaseBlocked, CaseExposure, CaseCredentials, CaseShortage}
}

// Team says who must act on a case of this kind.
func (k CaseKind) Team() string {
	switch k {
	case CaseBlocked:
		return "compliance"
	case CaseShortage, CaseExposure:
		return "treasury"
	case CaseCredentials:
		return "on-call"
	}
	return "operations"
}

// Action is what two people may decide about a case. Wire format: add, never
// rename.
type Action string

const (
	ActionNeverCreated  Action = "never_created"  // the create never reached the provider: the player is credited back
	ActionCreatedAs     Action = "created_as"     // the provider has it under this id: that is what is followed, or settled
	ActionReleaseFrozen Action = "release_frozen" // compliance lets go of the money: frozen → available
	ActionKeepFrozen    Action = "keep_frozen"    // compliance keeps the money frozen; the case stays open
	ActionBookReturn    Action = "book_return"    // the bank sent it back: merchant → available
	ActionRecover       Action = "recover"        // take from the player what was paid twice: available → exposure
	ActionNotOurs       Action = "not_ours"       // a further payout at the provider is none of ours: followed no more
	ActionAdjust        Action = "adjust"         // the house bears it: fees → exposure, or fees → merchant
	ActionDismiss       Action = "dismiss"        // there is nothing to do
)

// Offer is an action that a case may be resolved with.
type Offer struct {
	Action Action
	Kinds  []CaseKind
	Risk   string // what is lost if the decision is wrong
	Needs  string // the field that must come with it; "": none
}

// offers is every action, the kinds of case it answers, and its risk. What the
// books allow at the moment is checked beside it, when it is proposed, when it
// is approved, and in the step that carries it out.
var offers = []Offer{
	{ActionNeverCreated, []CaseKind{CaseUnknownOutcome, CaseContradiction}, "If the provider has it after all, the money is paid twice.", ""},
	{ActionCreatedAs, []CaseKind{CaseUnknownOutcome, CaseMismatch, CaseContradiction},
		"If the id is of another payout, this one is never paid. The provider is asked first, and another id in its metadata refuses.", "provider_payout_id"},
	{ActionNotOurs, []CaseKind{CaseContradiction},
		"If it is ours and is paid after all, the player has been paid twice. The provider is asked first, and is refused where it is ours by its words.", "provider_payout_id"},
	{ActionReleaseFrozen, []CaseKind{CaseBlocked}, "Money under a regulatory stop becomes spendable.", ""},
	{ActionKeepFrozen, []CaseKind{CaseBlocked}, "None: the money stays frozen and the case open.", ""},
	{ActionBookReturn, []CaseKind{CaseReturnUnconfirmed, CaseContradiction}, "If the bank did not send it back, the player is paid twice.", ""},
	{ActionRecover, []CaseKind{CaseExposure}, "The player's available balance is lowered; what was paid may be in dispute.", ""},
	{ActionAdjust, []CaseKind{CaseExposure, CaseContradiction}, "The house bears the amount; what could be recovered is written off.", ""},
	{ActionDismiss, []CaseKind{CaseSlow, CaseMismatch, CaseContradiction, CaseExposure, CaseUnmatchedEvent, CaseUnmatchedLine, CaseReturnUnconfirmed, CaseShortage},
		"If something was behind it, nobody looks again until there is news.", ""},
}

// Offers lists the actions that answer a kind of case.
func Offers(kind CaseKind) []Offer {
	var list []Offer
	for _, o := range offers {
		if slices.Contains(o.Kinds, kind) {
			list = append(list, o)
		}
	}
	return list
}

// Actions lists every action.
func Actions() []Action {
	list := make([]Action, len(offers))
	for i, o := range offers {
		list[i] = o.Action
	}
	return list
}

// Proposal is one person's wish to resolve a case.
type Proposal struct {
	CaseID           string
	Action           Action
	ProviderPayoutID string // with created_as and not_ours
	ProviderTicket   string // what the provider's support said, by its number
	Reason           string // why, for those who read it later
	Version          int    // the payout's, as the case shows it
	Questions        int    // how much the case asked when it was read; 0: not known
	By               string // the caller's name: one person
}

// Approval is the second person's word on a proposal.
type Approval struct {
	CaseID    string
	Number    int // of the proposal
	Approve   bool
	Version   int
	Questions int // as in Proposal
	By        string
}

// Check names everything that is wrong with the proposal by its form.
func (p Proposal) Check() Problems {
	var problems Problems
	at := slices.IndexFunc(offers, func(o Offer) bool { return o.Action == p.Action })
	switch {
	case at < 0:
		problems.add("action", "%.40q: want an action that the case offers", p.Action)
	case offers[at].Needs == "" && p.ProviderPayoutID != "":
		problems.add("provider_payout_id", "does not belong to %s; leave it out", p.Action)
	case offers[at].Needs != "" && !providerRef.MatchString(p.ProviderPayoutID):
		problems.add("provider_payout_id", "want the provider's id of the payout, as its Console shows it")
	}
	if p.ProviderTicket != "" && !line.MatchString(p.ProviderTicket) {
		problems.add("provider_ticket", "want the number of the provider's ticket, 1 to 100 characters on one line")
	}
	checkText(&problems, "reason", p.Reason, 1000)
	if p.Version < 1 {
		problems.add("version", "want the version that the case shows")
	}
	if p.Questions < 0 {
		problems.add("questions", "want the number that the case shows, or none")
	}
	return problems
}

// RefusalKind says why a resolution is not taken. Wire format: add, never rename.
type RefusalKind string

const (
	RefusalStale      RefusalKind = "stale"       // the payout or the case moved on since the person looked
	RefusalClosed     RefusalKind = "closed"      // the case is closed
	RefusalOpen       RefusalKind = "open"        // another proposal waits for its second person
	RefusalDecided    RefusalKind = "decided"     // the proposal is approved or rejected already
	RefusalSamePerson RefusalKind = "same_person" // nobody approves his own proposal
	RefusalNotOffered RefusalKind = "not_offered" // the action does not answer this case, as things are
)

// Refusal is a resolution that is not taken: nothing was written.
type Refusal struct {
	Kind RefusalKind
	Why  string // for the person who asked
}

func (e *Refusal) Error() string { return e.Why }

// Refuse makes a Refusal.
func Refuse(kind RefusalKind, format string, args ...any) error {
	return &Refusal{kind, fmt.Sprintf(format, args...)}
}

// NeverCreatedAfter is how long after the last send two people may decide that
// it never arrived without a ticket of the provider.
const NeverCreatedAfter = 72 * time.Hour
