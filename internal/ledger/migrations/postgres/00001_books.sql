-- +goose Up
-- The same books as in sqlite/: a test holds the two files to the same tables,
-- columns and constraints.
-- Times are microseconds since 1970-01-01 UTC. Amounts are minor units.
-- 0 and '' mean "none" only where a column says so.

CREATE TABLE players (
    id         TEXT    NOT NULL PRIMARY KEY,
    caller     TEXT    NOT NULL, -- who first named the player; nobody else sees it
    created_at BIGINT NOT NULL
);

-- What the house owes a player. The only stored balances; every one of them
-- is also the sum of its transactions.
CREATE TABLE balances (
    player_id TEXT    NOT NULL REFERENCES players (id),
    currency  TEXT    NOT NULL,
    available BIGINT NOT NULL DEFAULT 0 CHECK (available >= 0),
    held      BIGINT NOT NULL DEFAULT 0 CHECK (held >= 0),
    frozen    BIGINT NOT NULL DEFAULT 0 CHECK (frozen >= 0),
    PRIMARY KEY (player_id, currency)
);

CREATE TABLE payment_sources (
    id        TEXT    NOT NULL PRIMARY KEY, -- the provider's id: one account, one player
    player_id TEXT    NOT NULL REFERENCES players (id),
    user_id   TEXT    NOT NULL,
    currency  TEXT    NOT NULL,
    bound_by  TEXT    NOT NULL CHECK (bound_by IN ('caller', 'event', 'first_use')),
    bound_at  BIGINT NOT NULL
);
CREATE INDEX payment_sources_by_player ON payment_sources (player_id);

-- What a caller asked for under a key, to answer repeats and refuse reuse.
CREATE TABLE idempotency_keys (
    caller     TEXT    NOT NULL,
    endpoint   TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    request    TEXT    NOT NULL, -- canonical JSON
    result_id  TEXT    NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (caller, endpoint, key)
);

CREATE TABLE payouts (
    id                  TEXT    NOT NULL PRIMARY KEY,
    kind                TEXT    NOT NULL CHECK (kind IN ('payout', 'refund')),
    caller              TEXT    NOT NULL,
    idempotency_key     TEXT    NOT NULL,
    player_id           TEXT    NOT NULL REFERENCES players (id),
    amount_in_minor     BIGINT NOT NULL CHECK (amount_in_minor > 0),
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
    flaps               BIGINT NOT NULL DEFAULT 0, -- authorized words that turned back to pending
    claimed_status      TEXT    NOT NULL DEFAULT '', -- what signed news says while the provider does not yet
    claimed_at          BIGINT NOT NULL DEFAULT 0,
    attempt             BIGINT NOT NULL CHECK (attempt >= 1),
    step                TEXT    NOT NULL CHECK (step IN ('create', 'wait', 'reconcile', 'try_again', 'release', 'freeze', 'return', 'park', 'done')),
    next_step_at        BIGINT NOT NULL DEFAULT 0, -- 0: no timer
    park_kind           TEXT    NOT NULL DEFAULT '', -- with step park: the kind of case
    park_why            TEXT    NOT NULL DEFAULT '',
    due_at              BIGINT,                    -- when the sweeper looks; NULL: never
    unread              BIGINT NOT NULL DEFAULT 0 CHECK (unread IN (0, 1)),
    woken_at            BIGINT,                    -- when the run was last told of news that no step has applied; NULL: no such news
    version             BIGINT NOT NULL CHECK (version >= 1), -- dense: one more with each status change
    created_at          BIGINT NOT NULL,
    updated_at          BIGINT NOT NULL,
    UNIQUE (caller, kind, idempotency_key)
);
CREATE INDEX payouts_newest ON payouts (kind, created_at, id);
CREATE INDEX payouts_by_caller ON payouts (caller, kind, created_at, id);
CREATE INDEX payouts_by_player ON payouts (player_id, created_at, id);
CREATE INDEX payouts_by_status ON payouts (status, created_at, id);
CREATE INDEX payouts_by_reason ON payouts (failure_reason, created_at, id) WHERE failure_reason <> '';
CREATE INDEX payouts_unread ON payouts (woken_at) WHERE woken_at IS NOT NULL;
CREATE INDEX payouts_due ON payouts (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE attempts (
    payout_id          TEXT    NOT NULL REFERENCES payouts (id),
    number             BIGINT NOT NULL CHECK (number >= 1),
    idempotency_key    TEXT    NOT NULL UNIQUE,
    body               BYTEA   NOT NULL, -- the exact bytes of every send
    provider_payout_id TEXT    UNIQUE,
    status             TEXT    NOT NULL CHECK (status IN ('open', 'created', 'refused', 'failed', 'executed')),
    failure_reason     TEXT    NOT NULL DEFAULT '',
    key_reused         BIGINT NOT NULL DEFAULT 0 CHECK (key_reused IN (0, 1)), -- the provider knows the key with another body
    asked_at           BIGINT NOT NULL DEFAULT 0, -- of the newest evidence that counted
    created_at         BIGINT NOT NULL,
    created_there_at   BIGINT NOT NULL DEFAULT 0, -- when we learnt the provider's id
    closed_at          BIGINT,
    PRIMARY KEY (payout_id, number)
);
-- Two attempts are never alive at once.
CREATE UNIQUE INDEX attempts_alive ON attempts (payout_id) WHERE closed_at IS NULL;

-- Further payouts that the provider has for one attempt: there should be none.
-- Each is followed until it has failed, and no money is given back before.
CREATE TABLE doubles (
    provider_payout_id TEXT    NOT NULL PRIMARY KEY,
    payout_id          TEXT    NOT NULL,
    attempt            BIGINT NOT NULL,
    status             TEXT    NOT NULL CHECK (status IN ('open', 'failed', 'executed')),
    learnt_at          BIGINT NOT NULL,
    FOREIGN KEY (payout_id, attempt) REFERENCES attempts (payout_id, number)
);
CREATE INDEX doubles_by_payout ON doubles (payout_id);

-- The send log: a row before the first byte leaves, its answer beside it. A
-- row without an answer may have reached the provider.
CREATE TABLE sends (
    payout_id        TEXT    NOT NULL,
    attempt          BIGINT NOT NULL,
    number           BIGINT NOT NULL,
    started_at       BIGINT NOT NULL,
    deadline_at      BIGINT NOT NULL,
    token_expires_at BIGINT NOT NULL,
    answer           TEXT    CHECK (answer IN ('created', 'refused', 'not_sent', 'unknown')),
    answered_at      BIGINT,
    detail           TEXT    NOT NULL DEFAULT '',
    PRIMARY KEY (payout_id, attempt, number),
    FOREIGN KEY (payout_id, attempt) REFERENCES attempts (payout_id, number)
);

CREATE TABLE evidence (
    id                 TEXT    NOT NULL PRIMARY KEY,
    payout_id          TEXT    NOT NULL REFERENCES payouts (id),
    attempt            BIGINT NOT NULL,
    kind               TEXT    NOT NULL CHECK (kind IN ('create', 'get', 'event', 'statement')),
    provider_payout_id TEXT    NOT NULL,
    provider_status    TEXT    NOT NULL,
    failure_reason     TEXT    NOT NULL,
    asked_at           BIGINT NOT NULL,
    decided_at         BIGINT NOT NULL DEFAULT 0, -- the provider's clock
    stored_at          BIGINT NOT NULL,
    seal_key           TEXT    NOT NULL, -- which key seals the body
    body               BYTEA   NOT NULL
);
CREATE INDEX evidence_by_payout ON evidence (payout_id, stored_at);

CREATE TABLE inbox (
    id                 TEXT    NOT NULL PRIMARY KEY,
    event_id           TEXT    NOT NULL,
    digest             TEXT    NOT NULL, -- SHA-256 of the body
    type               TEXT    NOT NULL,
    provider_payout_id TEXT    NOT NULL,
    claimed_payout_id  TEXT    NOT NULL, -- from the metadata
    payout_id          TEXT    REFERENCES payouts (id), -- NULL: matched to none yet
    attempt            BIGINT NOT NULL,
    claimed_status     TEXT    NOT NULL,
    failure_reason     TEXT    NOT NULL,
    signed_at          TEXT    NOT NULL, -- X-TL-Webhook-Timestamp as received
    signature          TEXT    NOT NULL,
    received_at        BIGINT NOT NULL,
    repeats            BIGINT NOT NULL DEFAULT 0,
    applied_at         BIGINT,
    applied_by         TEXT    NOT NULL DEFAULT '', -- the step that read it
    seal_key           TEXT    NOT NULL,
    body               BYTEA   NOT NULL,
    UNIQUE (event_id, digest)
);
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
);
CREATE INDEX waiting_sources_by_player ON waiting_sources (player_id);

CREATE TABLE outbox (
    id          TEXT    NOT NULL PRIMARY KEY,
    caller      TEXT    NOT NULL,
    subject_id  TEXT    NOT NULL, -- a payout or a case
    version     BIGINT NOT NULL,
    type        TEXT    NOT NULL,
    occurred_at BIGINT NOT NULL,
    data        TEXT    NOT NULL, -- JSON
    next_try_at BIGINT, -- NULL: delivered or given up
    tries       BIGINT NOT NULL DEFAULT 0,
    sent_at     BIGINT,
    last_error  TEXT    NOT NULL DEFAULT '',
    UNIQUE (subject_id, version, type)
);
CREATE INDEX outbox_unsent ON outbox (next_try_at) WHERE next_try_at IS NOT NULL;
CREATE INDEX outbox_unsent_by_caller ON outbox (caller, next_try_at) WHERE next_try_at IS NOT NULL;

CREATE TABLE cases (
    id        TEXT    NOT NULL PRIMARY KEY,
    kind      TEXT    NOT NULL,
    status    TEXT    NOT NULL CHECK (status IN ('open', 'closed')),
    payout_id TEXT    NOT NULL DEFAULT '', -- '' when it is about no payout
    subject   TEXT    NOT NULL DEFAULT '', -- what else it is about, such as a merchant account
    why       TEXT    NOT NULL,
    version   BIGINT NOT NULL,
    opened_at BIGINT NOT NULL,
    closed_at BIGINT
);
-- One open case of a kind per subject.
CREATE UNIQUE INDEX cases_open ON cases (payout_id, kind, subject) WHERE status = 'open';
CREATE INDEX cases_by_status ON cases (status, opened_at, id);
CREATE INDEX cases_by_payout ON cases (payout_id, status, opened_at);

CREATE TABLE timeline (
    payout_id   TEXT    NOT NULL REFERENCES payouts (id),
    number      BIGINT NOT NULL,
    at          BIGINT NOT NULL,
    status      TEXT    NOT NULL,
    what        TEXT    NOT NULL,
    evidence_id TEXT    NOT NULL DEFAULT '',
    PRIMARY KEY (payout_id, number)
);

-- Double entry: each row takes one amount from one account and adds it to
-- another, so that the postings of a row always sum to zero.
CREATE TABLE transactions (
    id              TEXT    NOT NULL PRIMARY KEY,
    kind            TEXT    NOT NULL CHECK (kind IN ('credit', 'debit', 'reserve', 'settle', 'release', 'freeze', 'unfreeze', 'return', 'expose', 'recover', 'adjust')),
    payout_id       TEXT    REFERENCES payouts (id),
    attempt         BIGINT NOT NULL DEFAULT 0,
    slot            TEXT,   -- unique per payout: hold, outcome, return, exposure/<attempt>
    evidence_id     TEXT    NOT NULL DEFAULT '',
    from_account    TEXT    NOT NULL,
    to_account      TEXT    NOT NULL,
    amount_in_minor BIGINT NOT NULL CHECK (amount_in_minor > 0),
    currency        TEXT    NOT NULL,
    reason          TEXT    NOT NULL DEFAULT '',
    booked_at       BIGINT NOT NULL, -- our clock
    effective_at    BIGINT NOT NULL, -- the provider's, where it has one
    position        BIGINT UNIQUE,   -- dense; NULL until sealed
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
);
CREATE INDEX transactions_from ON transactions (from_account, currency);
CREATE INDEX transactions_to ON transactions (to_account, currency);
CREATE INDEX transactions_unsealed ON transactions (booked_at) WHERE position IS NULL;

-- What SQL can hold, SQL holds, whoever writes.

-- +goose StatementBegin
CREATE FUNCTION ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'ledger: %', TG_ARGV[0]; END $$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION ledger_obey() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM payouts WHERE id = NEW.payout_id AND amount_in_minor = NEW.amount_in_minor AND currency = NEW.currency) THEN
        RAISE EXCEPTION 'ledger: the amount of a payout is the amount of its row';
    END IF;
    IF NEW.slot = 'outcome' AND NOT EXISTS (SELECT 1 FROM transactions WHERE payout_id = NEW.payout_id AND slot = 'hold') THEN
        RAISE EXCEPTION 'ledger: an outcome needs its hold';
    END IF;
    IF NEW.slot = 'return' AND NOT EXISTS (SELECT 1 FROM transactions WHERE payout_id = NEW.payout_id AND kind = 'settle') THEN
        RAISE EXCEPTION 'ledger: only what was settled can be returned';
    END IF;
    IF NEW.kind = 'expose' AND EXISTS (SELECT 1 FROM transactions WHERE payout_id = NEW.payout_id AND kind = 'settle' AND attempt = NEW.attempt) THEN
        RAISE EXCEPTION 'ledger: a settled attempt is no exposure';
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd

CREATE TRIGGER transactions_obey BEFORE INSERT ON transactions FOR EACH ROW WHEN (NEW.slot IS NOT NULL) EXECUTE FUNCTION ledger_obey();
CREATE TRIGGER transactions_stay BEFORE UPDATE ON transactions FOR EACH ROW
WHEN (OLD.position IS NOT NULL
  OR (NEW.id, NEW.kind, NEW.payout_id, NEW.attempt, NEW.slot, NEW.evidence_id, NEW.from_account, NEW.to_account, NEW.amount_in_minor, NEW.currency, NEW.reason, NEW.booked_at, NEW.effective_at)
     IS DISTINCT FROM (OLD.id, OLD.kind, OLD.payout_id, OLD.attempt, OLD.slot, OLD.evidence_id, OLD.from_account, OLD.to_account, OLD.amount_in_minor, OLD.currency, OLD.reason, OLD.booked_at, OLD.effective_at))
EXECUTE FUNCTION ledger_refuse('transactions are append-only');
CREATE TRIGGER transactions_remain BEFORE DELETE ON transactions FOR EACH ROW EXECUTE FUNCTION ledger_refuse('transactions are append-only');
CREATE TRIGGER evidence_stays BEFORE UPDATE ON evidence FOR EACH ROW EXECUTE FUNCTION ledger_refuse('evidence is append-only');
CREATE TRIGGER evidence_remains BEFORE DELETE ON evidence FOR EACH ROW EXECUTE FUNCTION ledger_refuse('evidence is append-only');
CREATE TRIGGER timeline_stays BEFORE UPDATE ON timeline FOR EACH ROW EXECUTE FUNCTION ledger_refuse('the timeline is append-only');
CREATE TRIGGER timeline_remains BEFORE DELETE ON timeline FOR EACH ROW EXECUTE FUNCTION ledger_refuse('the timeline is append-only');
CREATE TRIGGER sends_stay BEFORE UPDATE ON sends FOR EACH ROW
WHEN (OLD.answer IS NOT NULL
  OR (NEW.payout_id, NEW.attempt, NEW.number, NEW.started_at, NEW.deadline_at, NEW.token_expires_at)
     IS DISTINCT FROM (OLD.payout_id, OLD.attempt, OLD.number, OLD.started_at, OLD.deadline_at, OLD.token_expires_at))
EXECUTE FUNCTION ledger_refuse('a send is answered once');
CREATE TRIGGER sends_remain BEFORE DELETE ON sends FOR EACH ROW EXECUTE FUNCTION ledger_refuse('sends are append-only');
CREATE TRIGGER attempts_stay BEFORE UPDATE ON attempts FOR EACH ROW
WHEN ((NEW.payout_id, NEW.number, NEW.idempotency_key, NEW.body, NEW.created_at)
     IS DISTINCT FROM (OLD.payout_id, OLD.number, OLD.idempotency_key, OLD.body, OLD.created_at)
  OR (OLD.provider_payout_id IS NOT NULL AND NEW.provider_payout_id IS DISTINCT FROM OLD.provider_payout_id)
  OR (OLD.closed_at IS NOT NULL AND NEW.closed_at IS DISTINCT FROM OLD.closed_at))
EXECUTE FUNCTION ledger_refuse('an attempt keeps its key, its bytes, its provider id and its end');
CREATE TRIGGER attempts_remain BEFORE DELETE ON attempts FOR EACH ROW EXECUTE FUNCTION ledger_refuse('attempts are append-only');
CREATE TRIGGER payouts_stay BEFORE UPDATE ON payouts FOR EACH ROW
WHEN ((NEW.id, NEW.kind, NEW.caller, NEW.idempotency_key, NEW.player_id, NEW.amount_in_minor, NEW.currency, NEW.merchant_account_id, NEW.user_id, NEW.payment_source_id, NEW.payment_id, NEW.reference, NEW.metadata, NEW.created_at)
     IS DISTINCT FROM (OLD.id, OLD.kind, OLD.caller, OLD.idempotency_key, OLD.player_id, OLD.amount_in_minor, OLD.currency, OLD.merchant_account_id, OLD.user_id, OLD.payment_source_id, OLD.payment_id, OLD.reference, OLD.metadata, OLD.created_at)
  OR (OLD.status IN ('failed', 'returned') AND NEW.status <> OLD.status)
  OR (OLD.status = 'executed' AND NEW.status NOT IN ('executed', 'returned')))
EXECUTE FUNCTION ledger_refuse('what a payout is for does not change, and a final status stays');
CREATE TRIGGER payouts_remain BEFORE DELETE ON payouts FOR EACH ROW EXECUTE FUNCTION ledger_refuse('payouts are never deleted');
CREATE TRIGGER transactions_whole BEFORE TRUNCATE ON transactions FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('transactions are never emptied');
CREATE TRIGGER sends_whole BEFORE TRUNCATE ON sends FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('sends are never emptied');
CREATE TRIGGER attempts_whole BEFORE TRUNCATE ON attempts FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('attempts are never emptied');
CREATE TRIGGER payouts_whole BEFORE TRUNCATE ON payouts FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('payouts are never emptied');
CREATE TRIGGER evidence_whole BEFORE TRUNCATE ON evidence FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('evidence is never emptied');
CREATE TRIGGER timeline_whole BEFORE TRUNCATE ON timeline FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('the timeline is never emptied');
