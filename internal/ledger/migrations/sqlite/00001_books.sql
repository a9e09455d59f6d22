-- +goose Up
-- Times are microseconds since 1970-01-01 UTC. Amounts are minor units.
-- 0 and '' mean "none" only where a column says so.

CREATE TABLE players (
    id         TEXT    NOT NULL PRIMARY KEY,
    caller     TEXT    NOT NULL, -- who first named the player; nobody else sees it
    created_at INTEGER NOT NULL
) STRICT;

-- What the house owes a player. The only stored balances; every one of them
-- is also the sum of its transactions.
CREATE TABLE balances (
    player_id TEXT    NOT NULL REFERENCES players (id),
    currency  TEXT    NOT NULL,
    available INTEGER NOT NULL DEFAULT 0 CHECK (available >= 0),
    held      INTEGER NOT NULL DEFAULT 0 CHECK (held >= 0),
    frozen    INTEGER NOT NULL DEFAULT 0 CHECK (frozen >= 0),
    PRIMARY KEY (player_id, currency)
) STRICT;

CREATE TABLE payment_sources (
    id        TEXT    NOT NULL PRIMARY KEY, -- the provider's id: one account, one player
    player_id TEXT    NOT NULL REFERENCES players (id),
    user_id   TEXT    NOT NULL,
    currency  TEXT    NOT NULL,
    bound_by  TEXT    NOT NULL CHECK (bound_by IN ('caller', 'event', 'first_use')),
    bound_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX payment_sources_by_player ON payment_sources (player_id);

-- What a caller asked for under a key, to answer repeats and refuse reuse.
CREATE TABLE idempotency_keys (
    caller     TEXT    NOT NULL,
    endpoint   TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    request    TEXT    NOT NULL, -- canonical JSON
    result_id  TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (caller, endpoint, key)
) STRICT;

CREATE TABLE payouts (
    id                  TEXT    NOT NULL PRIMARY KEY,
    kind                TEXT    NOT NULL CHECK (kind IN ('payout', 'refund')),
    caller              TEXT    NOT NULL,
    idempotency_key     TEXT    NOT NULL,
    player_id           TEXT    NOT NULL REFERENCES players (id),
    amount_in_minor     INTEGER NOT NULL CHECK (amount_in_minor > 0),
    currency            TEXT    NOT NULL,
    merchant_account_id TEXT    NOT NULL,
    user_id             TEXT    NOT NULL, -- the beneficiary, by the provider's ids; '' for a refund
    payment_source_id   TEXT    NOT NULL,
    payment_id          TEXT    NOT NULL DEFAULT '', -- the pay-in of a refund
    reference           TEXT    NOT NULL,
    metadata            TEXT    NOT NULL, -- JSON object of texts

    status              TEXT    NOT NULL CHECK (status IN ('accepted', 'pending', 'authorized', 'executed', 'failed', 'returned', 'parked')),
    money               TEXT    NOT NULL CHECK (money IN ('held', 'paid', 'released', 'frozen', 'returned')),
    failure_reason      TEXT    NOT NULL DEFAULT '',
    provider_status     TEXT    NOT NULL DEFAULT '',
    flaps               INTEGER NOT NULL DEFAULT 0, -- authorized words that turned back to pending
    claimed_status      TEXT    NOT NULL DEFAULT '', -- what signed news says while the provider does not yet
    claimed_at          INTEGER NOT NULL DEFAULT 0,
    attempt             INTEGER NOT NULL CHECK (attempt >= 1),
    step                TEXT    NOT NULL CHECK (step IN ('create', 'wait', 'reconcile', 'try_again', 'release', 'freeze', 'return', 'park', 'done')),
    next_step_at        INTEGER NOT NULL DEFAULT 0, -- 0: no timer
    park_kind           TEXT    NOT NULL DEFAULT '', -- with step park: the kind of case
    park_why            TEXT    NOT NULL DEFAULT '',
    due_at              INTEGER,                    -- when the sweeper looks; NULL: never
    unread              INTEGER NOT NULL DEFAULT 0 CHECK (unread IN (0, 1)),
    woken_at            INTEGER,                   -- when the run was last told of news that no step has applied; NULL: no such news
    version             INTEGER NOT NULL CHECK (version >= 1), -- dense: one more with each status change
    created_at          INTEGER NOT NULL,
    updated_at          INTEGER NOT NULL,
    UNIQUE (caller, kind, idempotency_key)
) STRICT;
CREATE INDEX payouts_newest ON payouts (kind, created_at, id);
CREATE INDEX payouts_by_caller ON payouts (caller, kind, created_at, id);
CREATE INDEX payouts_by_player ON payouts (player_id, created_at, id);
CREATE INDEX payouts_by_status ON payouts (status, created_at, id);
CREATE INDEX payouts_by_reason ON payouts (failure_reason, created_at, id) WHERE failure_reason <> '';
CREATE INDEX payouts_unread ON payouts (woken_at) WHERE woken_at IS NOT NULL;
CREATE INDEX payouts_due ON payouts (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE attempts (
    payout_id          TEXT    NOT NULL REFERENCES payouts (id),
    number             INTEGER NOT NULL CHECK (number >= 1),
    idempotency_key    TEXT    NOT NULL UNIQUE,
    body               BLOB    NOT NULL, -- the exact bytes of every send
    provider_payout_id TEXT    UNIQUE,
    status             TEXT    NOT NULL CHECK (status IN ('open', 'created', 'refused', 'failed', 'executed')),
    failure_reason     TEXT    NOT NULL DEFAULT '',
    key_reused         INTEGER NOT NULL DEFAULT 0 CHECK (key_reused IN (0, 1)), -- the provider knows the key with another body
    asked_at           INTEGER NOT NULL DEFAULT 0, -- of the newest evidence that counted
    created_at         INTEGER NOT NULL,
    created_there_at   INTEGER NOT NULL DEFAULT 0, -- when we learnt the provider's id
    closed_at          INTEGER,
    PRIMARY KEY (payout_id, number)
) STRICT;
-- Two attempts are never alive at once.
CREATE UNIQUE INDEX attempts_alive ON attempts (payout_id) WHERE closed_at IS NULL;

-- Further payouts that the provider has for one attempt: there should be none.
-- Each is followed until it has failed, and no money is given back before.
CREATE TABLE doubles (
    provider_payout_id TEXT    NOT NULL PRIMARY KEY,
    payout_id          TEXT    NOT NULL,
    attempt            INTEGER NOT NULL,
    status             TEXT    NOT NULL CHECK (status IN ('open', 'failed', 'executed')),
    learnt_at          INTEGER NOT NULL,
    FOREIGN KEY (payout_id, attempt) REFERENCES attempts (payout_id, number)
) STRICT;
CREATE INDEX doubles_by_payout ON doubles (payout_id);

-- The send log: a row before the first byte leaves, its answer beside it. A
-- row without an answer may have reached the provider.
CREATE TABLE sends (
    payout_id        TEXT    NOT NULL,
    attempt          INTEGER NOT NULL,
    number           INTEGER NOT NULL,
    started_at       INTEGER NOT NULL,
    deadline_at      INTEGER NOT NULL,
    token_expires_at INTEGER NOT NULL,
    answer           TEXT    CHECK (answer IN ('created', 'refused', 'not_sent', 'unknown')),
    answered_at      INTEGER,
    detail           TEXT    NOT NULL DEFAULT '',
    PRIMARY KEY (payout_id, attempt, number),
    FOREIGN KEY (payout_id, attempt) REFERENCES attempts (payout_id, number)
) STRICT;

CREATE TABLE evidence (
    id                 TEXT    NOT NULL PRIMARY KEY,
    payout_id          TEXT    NOT NULL REFERENCES payouts (id),
    attempt            INTEGER NOT NULL,
    kind               TEXT    NOT NULL CHECK (kind IN ('create', 'get', 'event', 'statement')),
    provider_payout_id TEXT    NOT NULL,
    provider_status    TEXT    NOT NULL,
    failure_reason     TEXT    NOT NULL,
    asked_at           INTEGER NOT NULL,
    decided_at         INTEGER NOT NULL DEFAULT 0, -- the provider's clock
    stored_at          INTEGER NOT NULL,
    seal_key           TEXT    NOT NULL, -- which key seals the body
    body               BLOB    NOT NULL
) STRICT;
CREATE INDEX evidence_by_payout ON evidence (payout_id, stored_at);

CREATE TABLE inbox (
    id                 TEXT    NOT NULL PRIMARY KEY,
    event_id           TEXT    NOT NULL,
    digest             TEXT    NOT NULL, -- SHA-256 of the body
    type               TEXT    NOT NULL,
    provider_payout_id TEXT    NOT NULL,
    claimed_payout_id  TEXT    NOT NULL, -- from the metadata
    payout_id          TEXT    REFERENCES payouts (id), -- NULL: matched to none yet
    attempt            INTEGER NOT NULL,
    claimed_status     TEXT    NOT NULL,
    failure_reason     TEXT    NOT NULL,
    signed_at          TEXT    NOT NULL, -- X-TL-Webhook-Timestamp as received
    signature          TEXT    NOT NULL,
    received_at        INTEGER NOT NULL,
    repeats            INTEGER NOT NULL DEFAULT 0,
    applied_at         INTEGER,
    applied_by         TEXT    NOT NULL DEFAULT '', -- the step that read it
    seal_key           TEXT    NOT NULL,
    body               BLOB    NOT NULL,
    UNIQUE (event_id, digest)
) STRICT;
CREATE INDEX inbox_unapplied ON inbox (payout_id, received_at) WHERE applied_at IS NULL;
CREATE INDEX inbox_by_provider_payout ON inbox (provider_payout_id) WHERE payout_id IS NULL;

-- Accounts that paid in for a player nobody has named here yet. They are bound
-- when the player is first named; the bodies of events are sealed, so what is
-- needed for that stands here.
CREATE TABLE waiting_sources (
    inbox_id          TEXT NOT NULL PRIMARY KEY REFERENCES inbox (id),
    player_id         TEXT NOT NULL,
    payment_source_id TEXT NOT NULL,
    user_id           TEXT NOT NULL,
    currency          TEXT NOT NULL
) STRICT;
CREATE INDEX waiting_sources_by_player ON waiting_sources (player_id);

CREATE TABLE outbox (
    id          TEXT    NOT NULL PRIMARY KEY,
    caller      TEXT    NOT NULL,
    subject_id  TEXT    NOT NULL, -- a payout or a case
    version     INTEGER NOT NULL,
    type        TEXT    NOT NULL,
    occurred_at INTEGER NOT NULL,
    data        TEXT    NOT NULL, -- JSON
    next_try_at INTEGER, -- NULL: delivered or given up
    tries       INTEGER NOT NULL DEFAULT 0,
    sent_at     INTEGER,
    last_error  TEXT    NOT NULL DEFAULT '',
    UNIQUE (subject_id, version, type)
) STRICT;
CREATE INDEX outbox_unsent ON outbox (next_try_at) WHERE next_try_at IS NOT NULL;
CREATE INDEX outbox_unsent_by_caller ON outbox (caller, next_try_at) WHERE next_try_at IS NOT NULL;

CREATE TABLE cases (
    id        TEXT    NOT NULL PRIMARY KEY,
    kind      TEXT    NOT NULL,
    status    TEXT    NOT NULL CHECK (status IN ('open', 'closed')),
    payout_id TEXT    NOT NULL DEFAULT '', -- '' when it is about no payout
    subject   TEXT    NOT NULL DEFAULT '', -- what else it is about, such as a merchant account
    why       TEXT    NOT NULL,
    version   INTEGER NOT NULL,
    opened_at INTEGER NOT NULL,
    closed_at INTEGER
) STRICT;
-- One open case of a kind per subject.
CREATE UNIQUE INDEX cases_open ON cases (payout_id, kind, subject) WHERE status = 'open';
CREATE INDEX cases_by_status ON cases (status, opened_at, id);
CREATE INDEX cases_by_payout ON cases (payout_id, status, opened_at);

CREATE TABLE timeline (
    payout_id   TEXT    NOT NULL REFERENCES payouts (id),
    number      INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    status      TEXT    NOT NULL,
    what        TEXT    NOT NULL,
    evidence_id TEXT    NOT NULL DEFAULT '',
    PRIMARY KEY (payout_id, number)
) STRICT;

-- Double entry: each row takes one amount from one account and adds it to
-- another, so that the postings of a row always sum to zero.
CREATE TABLE transactions (
    id              TEXT    NOT NULL PRIMARY KEY,
    kind            TEXT    NOT NULL CHECK (kind IN ('credit', 'debit', 'reserve', 'settle', 'release', 'freeze', 'unfreeze', 'return', 'expose', 'recover', 'adjust')),
    payout_id       TEXT    REFERENCES payouts (id),
    attempt         INTEGER NOT NULL DEFAULT 0,
    slot            TEXT,   -- unique per payout: hold, outcome, return, exposure/<attempt>
    evidence_id     TEXT    NOT NULL DEFAULT '',
    from_account    TEXT    NOT NULL,
    to_account      TEXT    NOT NULL,
    amount_in_minor INTEGER NOT NULL CHECK (amount_in_minor > 0),
    currency        TEXT    NOT NULL,
    reason          TEXT    NOT NULL DEFAULT '',
    booked_at       INTEGER NOT NULL, -- our clock
    effective_at    INTEGER NOT NULL, -- the provider's, where it has one
    position        INTEGER UNIQUE,   -- dense; NULL until sealed
    hash            TEXT,             -- chains over the position before
    UNIQUE (payout_id, slot),
    CHECK (from_account <> to_account),
    CHECK ((position IS NULL) = (hash IS NULL)),
    CHECK (CASE kind -- a check that comes to NULL passes, hence COALESCE
        WHEN 'reserve' THEN COALESCE(slot, '') = 'hold'
        WHEN 'settle'  THEN COALESCE(slot, '') = 'outcome'
        WHEN 'release' THEN COALESCE(slot, '') = 'outcome'
        WHEN 'freeze'  THEN COALESCE(slot, '') = 'outcome'
        WHEN 'return'  THEN COALESCE(slot, '') = 'return'
        WHEN 'expose'  THEN COALESCE(slot, '') = 'exposure/' || attempt
        ELSE slot IS NULL END),
    CHECK (slot IS NULL OR payout_id IS NOT NULL)
) STRICT;
CREATE INDEX transactions_from ON transactions (from_account, currency);
CREATE INDEX transactions_to ON transactions (to_account, currency);
CREATE INDEX transactions_unsealed ON transactions (booked_at) WHERE position IS NULL;

-- What SQL can hold, SQL holds, whoever writes.

-- +goose StatementBegin
CREATE TRIGGER transactions_obey BEFORE INSERT ON transactions WHEN NEW.slot IS NOT NULL BEGIN
    SELECT RAISE(ABORT, 'ledger: the amount of a payout is the amount of its row')
    WHERE NOT EXISTS (SELECT 1 FROM payouts WHERE id = NEW.payout_id AND amount_in_minor = NEW.amount_in_minor AND currency = NEW.currency);
    SELECT RAISE(ABORT, 'ledger: an outcome needs its hold')
    WHERE NEW.slot = 'outcome' AND NOT EXISTS (SELECT 1 FROM transactions WHERE payout_id = NEW.payout_id AND slot = 'hold');
    SELECT RAISE(ABORT, 'ledger: only what was settled can be returned')
    WHERE NEW.slot = 'return' AND NOT EXISTS (SELECT 1 FROM transactions WHERE payout_id = NEW.payout_id AND kind = 'settle');
    SELECT RAISE(ABORT, 'ledger: a settled attempt is no exposure')
    WHERE NEW.kind = 'expose' AND EXISTS (SELECT 1 FROM transactions WHERE payout_id = NEW.payout_id AND kind = 'settle' AND attempt = NEW.attempt);
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER transactions_stay BEFORE UPDATE ON transactions
WHEN OLD.position IS NOT NULL
  OR (NEW.id, NEW.kind, NEW.payout_id, NEW.attempt, NEW.slot, NEW.evidence_id, NEW.from_account, NEW.to_account, NEW.amount_in_minor, NEW.currency, NEW.reason, NEW.booked_at, NEW.effective_at)
     IS NOT (OLD.id, OLD.kind, OLD.payout_id, OLD.attempt, OLD.slot, OLD.evidence_id, OLD.from_account, OLD.to_account, OLD.amount_in_minor, OLD.currency, OLD.reason, OLD.booked_at, OLD.effective_at)
BEGIN SELECT RAISE(ABORT, 'ledger: transactions are append-only'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER transactions_remain BEFORE DELETE ON transactions BEGIN SELECT RAISE(ABORT, 'ledger: transactions are append-only'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER evidence_stays BEFORE UPDATE ON evidence BEGIN SELECT RAISE(ABORT, 'ledger: evidence is append-only'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER evidence_remains BEFORE DELETE ON evidence BEGIN SELECT RAISE(ABORT, 'ledger: evidence is append-only'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER timeline_stays BEFORE UPDATE ON timeline BEGIN SELECT RAISE(ABORT, 'ledger: the timeline is append-only'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER timeline_remains BEFORE DELETE ON timeline BEGIN SELECT RAISE(ABORT, 'ledger: the timeline is append-only'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER sends_stay BEFORE UPDATE ON sends
WHEN OLD.answer IS NOT NULL
  OR (NEW.payout_id, NEW.attempt, NEW.number, NEW.started_at, NEW.deadline_at, NEW.token_expires_at)
     IS NOT (OLD.payout_id, OLD.attempt, OLD.number, OLD.started_at, OLD.deadline_at, OLD.token_expires_at)
BEGIN SELECT RAISE(ABORT, 'ledger: a send is answered once'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER sends_remain BEFORE DELETE ON sends BEGIN SELECT RAISE(ABORT, 'ledger: sends are append-only'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER attempts_stay BEFORE UPDATE ON attempts
WHEN (NEW.payout_id, NEW.number, NEW.idempotency_key, NEW.body, NEW.created_at)
     IS NOT (OLD.payout_id, OLD.number, OLD.idempotency_key, OLD.body, OLD.created_at)
  OR (OLD.provider_payout_id IS NOT NULL AND NEW.provider_payout_id IS NOT OLD.provider_payout_id)
  OR (OLD.closed_at IS NOT NULL AND NEW.closed_at IS NOT OLD.closed_at)
BEGIN SELECT RAISE(ABORT, 'ledger: an attempt keeps its key, its bytes, its provider id and its end'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER attempts_remain BEFORE DELETE ON attempts BEGIN SELECT RAISE(ABORT, 'ledger: attempts are append-only'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER payouts_stay BEFORE UPDATE ON payouts
WHEN (NEW.id, NEW.kind, NEW.caller, NEW.idempotency_key, NEW.player_id, NEW.amount_in_minor, NEW.currency, NEW.merchant_account_id, NEW.user_id, NEW.payment_source_id, NEW.payment_id, NEW.reference, NEW.metadata, NEW.created_at)
     IS NOT (OLD.id, OLD.kind, OLD.caller, OLD.idempotency_key, OLD.player_id, OLD.amount_in_minor, OLD.currency, OLD.merchant_account_id, OLD.user_id, OLD.payment_source_id, OLD.payment_id, OLD.reference, OLD.metadata, OLD.created_at)
  OR (OLD.status IN ('failed', 'returned') AND NEW.status <> OLD.status)
  OR (OLD.status = 'executed' AND NEW.status NOT IN ('executed', 'returned'))
BEGIN SELECT RAISE(ABORT, 'ledger: what a payout is for does not change, and a final status stays'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER payouts_remain BEFORE DELETE ON payouts BEGIN SELECT RAISE(ABORT, 'ledger: payouts are never deleted'); END;
-- +goose StatementEnd
