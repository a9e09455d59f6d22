-- +goose Up
-- Late word, looks into statements, people's decisions, brakes.
-- Times are microseconds since 1970-01-01 UTC. Amounts are minor units.

ALTER TABLE attempts ADD COLUMN looked_at BIGINT NOT NULL DEFAULT 0; -- when we began the last whole reading of a statement that does not show it
ALTER TABLE attempts ADD COLUMN accepted TEXT NOT NULL DEFAULT ''; -- a field in which the provider's word differs, and two people said it is ours all the same
ALTER TABLE cases ADD COLUMN closed_by TEXT NOT NULL DEFAULT '';
CREATE INDEX cases_by_kind ON cases (kind, opened_at, id);

CREATE INDEX inbox_unmatched ON inbox (received_at) WHERE payout_id IS NULL AND applied_at IS NULL;
CREATE INDEX inbox_by_payout ON inbox (payout_id, received_at);
CREATE INDEX inbox_newest ON inbox (received_at, id);

-- Money that a person moved is moved once.
CREATE UNIQUE INDEX transactions_unfrozen ON transactions (payout_id) WHERE kind = 'unfreeze';
CREATE UNIQUE INDEX transactions_made_good ON transactions (payout_id, attempt) WHERE kind IN ('recover', 'adjust');

-- What one person proposes and another one decides. Bound to the case, the
-- action, the amount and the version that both saw.
CREATE TABLE resolutions (
    case_id            TEXT    NOT NULL REFERENCES cases (id),
    number             BIGINT NOT NULL,
    action             TEXT    NOT NULL,
    provider_payout_id TEXT    NOT NULL,
    provider_ticket    TEXT    NOT NULL,
    reason             TEXT    NOT NULL,
    payout_id          TEXT    NOT NULL, -- '' when the case is about none
    amount_in_minor    BIGINT NOT NULL,
    currency           TEXT    NOT NULL,
    version            BIGINT NOT NULL,
    status             TEXT    NOT NULL CHECK (status IN ('proposed', 'rejected', 'approved', 'done', 'void')),
    proposed_by        TEXT    NOT NULL CHECK (proposed_by <> ''),
    proposed_at        BIGINT NOT NULL,
    decided_by         TEXT    NOT NULL DEFAULT '',
    decided_at         BIGINT NOT NULL DEFAULT 0,
    ended_at           BIGINT NOT NULL DEFAULT 0,
    outcome            TEXT    NOT NULL DEFAULT '',
    PRIMARY KEY (case_id, number),
    CHECK (decided_by <> proposed_by), -- two people
    CHECK (status NOT IN ('approved', 'done', 'rejected') OR decided_by <> '')
);
CREATE UNIQUE INDEX resolutions_open ON resolutions (case_id) WHERE status IN ('proposed', 'approved');
CREATE INDEX resolutions_approved ON resolutions (payout_id) WHERE status = 'approved';

-- What people did, and what was done in their name.
CREATE TABLE audit (
    position  BIGINT NOT NULL PRIMARY KEY,
    at        BIGINT NOT NULL,
    who       TEXT    NOT NULL,
    what      TEXT    NOT NULL,
    case_id   TEXT    NOT NULL,
    payout_id TEXT    NOT NULL,
    detail    TEXT    NOT NULL
);

-- A row stands here while the provider refuses to let us in.
CREATE TABLE brakes (
    name       TEXT    NOT NULL PRIMARY KEY,
    since      BIGINT NOT NULL, -- of the first refusal in a row
    last_at    BIGINT NOT NULL,
    refusals   BIGINT NOT NULL,
    shut_until BIGINT NOT NULL, -- 0: not shut yet; else nobody asks before, but for one who tries
    why        TEXT    NOT NULL
);

-- Values of the provider that this build does not list.
CREATE TABLE drift (
    field    TEXT    NOT NULL, -- failure_reason, status
    value    TEXT    NOT NULL,
    times    BIGINT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at  BIGINT NOT NULL,
    PRIMARY KEY (field, value)
);

-- What two people say is evidence too.
ALTER TABLE evidence DROP CONSTRAINT evidence_kind_check;
ALTER TABLE evidence ADD CONSTRAINT evidence_kind_check CHECK (kind IN ('create', 'get', 'event', 'statement', 'person'));

CREATE TRIGGER resolutions_stay BEFORE UPDATE ON resolutions FOR EACH ROW
WHEN (OLD.status IN ('rejected', 'done', 'void')
  OR (NEW.case_id, NEW.number, NEW.action, NEW.provider_payout_id, NEW.provider_ticket, NEW.reason, NEW.payout_id, NEW.amount_in_minor, NEW.currency, NEW.version, NEW.proposed_by, NEW.proposed_at)
     IS DISTINCT FROM (OLD.case_id, OLD.number, OLD.action, OLD.provider_payout_id, OLD.provider_ticket, OLD.reason, OLD.payout_id, OLD.amount_in_minor, OLD.currency, OLD.version, OLD.proposed_by, OLD.proposed_at)
  OR (OLD.decided_by <> '' AND NEW.decided_by <> OLD.decided_by))
EXECUTE FUNCTION ledger_refuse('a proposal stays what it was');
CREATE TRIGGER resolutions_remain BEFORE DELETE ON resolutions FOR EACH ROW EXECUTE FUNCTION ledger_refuse('resolutions are append-only');
CREATE TRIGGER audit_stays BEFORE UPDATE ON audit FOR EACH ROW EXECUTE FUNCTION ledger_refuse('the audit is append-only');
CREATE TRIGGER audit_remains BEFORE DELETE ON audit FOR EACH ROW EXECUTE FUNCTION ledger_refuse('the audit is append-only');
CREATE TRIGGER resolutions_whole BEFORE TRUNCATE ON resolutions FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('resolutions are never emptied');
CREATE TRIGGER audit_whole BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('the audit is never emptied');

-- +goose StatementBegin
CREATE FUNCTION ledger_by_people() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM payouts WHERE id = NEW.payout_id AND amount_in_minor = NEW.amount_in_minor AND currency = NEW.currency) THEN
        RAISE EXCEPTION 'ledger: the amount of a payout is the amount of its row';
    END IF;
    IF NOT EXISTS (SELECT 1 FROM resolutions WHERE payout_id = NEW.payout_id AND status = 'approved') THEN
        RAISE EXCEPTION 'ledger: what people move, two people approved';
    END IF;
    IF NEW.kind = 'unfreeze' AND NOT EXISTS (SELECT 1 FROM transactions WHERE payout_id = NEW.payout_id AND to_account LIKE '%:frozen') THEN
        RAISE EXCEPTION 'ledger: only what was frozen can be unfrozen';
    END IF;
    IF NEW.kind = 'recover' AND NOT EXISTS (SELECT 1 FROM transactions WHERE payout_id = NEW.payout_id AND kind = 'expose' AND attempt = NEW.attempt) THEN
        RAISE EXCEPTION 'ledger: only an exposure can be recovered';
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER transactions_by_people BEFORE INSERT ON transactions FOR EACH ROW WHEN (NEW.kind IN ('unfreeze', 'recover', 'adjust')) EXECUTE FUNCTION ledger_by_people();
