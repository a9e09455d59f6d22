-- +goose Up
-- Each index is written by every payout, and most were read by few: those that
-- say what a key says already, or that only people's questions used, go; those that
-- remain leave out what ends as most payouts do. Guards whose rule was kept as text
-- (00008) are functions too.
-- An older program is at work meanwhile: the tables are taken in the order of its
-- steps, else one locks the other out. It asks what it asked, some of it by reading more.
LOCK TABLE payouts, attempts, transactions, timeline, outbox;

-- A payout's id follows from its caller, kind and key, and idempotency_keys holds them too.
ALTER TABLE payouts DROP CONSTRAINT payouts_caller_kind_idempotency_key_key;
DROP INDEX payouts_by_status;
CREATE INDEX payouts_by_status ON payouts (status, created_at, id) WHERE status <> 'executed';

-- Two attempts are never alive at once: each follows one that is closed, and what is
-- closed stays so. Room in the page for an attempt's end, so that no index sees it.
DROP INDEX attempts_alive;
ALTER TABLE attempts DROP CONSTRAINT attempts_number_check, SET (fillfactor = 70);
-- +goose StatementBegin
CREATE FUNCTION ledger_follow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.number < 1 OR NEW.number > 1 AND NOT EXISTS (SELECT 1 FROM attempts WHERE payout_id = NEW.payout_id AND number = NEW.number - 1 AND closed_at IS NOT NULL) THEN
        RAISE EXCEPTION 'ledger: an attempt follows one that is closed';
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER attempts_follow BEFORE INSERT ON attempts FOR EACH ROW EXECUTE FUNCTION ledger_follow();

-- A transaction of a payout is held to the payout's row by its guard, and nobody deletes a payout.
DROP INDEX transactions_from;
DROP INDEX transactions_to;
CREATE INDEX transactions_exposure ON transactions (currency) WHERE from_account = 'house:exposure' OR to_account = 'house:exposure';
ALTER TABLE transactions DROP CONSTRAINT transactions_position_key, DROP CONSTRAINT transactions_check1, DROP CONSTRAINT transactions_payout_id_fkey;
CREATE UNIQUE INDEX transactions_position_key ON transactions (position) WHERE position IS NOT NULL;
-- What people move: asked by ledger_obey, so that what machines move pays for one guard.
DROP TRIGGER transactions_by_people ON transactions;
DROP TRIGGER transactions_adjusted ON transactions;
DROP FUNCTION ledger_by_people();
DROP FUNCTION ledger_adjusted();
-- +goose StatementBegin
CREATE FUNCTION ledger_by_people(new transactions) RETURNS void LANGUAGE plpgsql AS $$
DECLARE borne BIGINT; written_off BIGINT;
BEGIN
    IF NOT EXISTS (SELECT 1 FROM payouts WHERE id = new.payout_id AND amount_in_minor = new.amount_in_minor AND currency = new.currency) THEN
        RAISE EXCEPTION 'ledger: the amount of a payout is the amount of its row';
    END IF;
    IF NOT EXISTS (SELECT 1 FROM resolutions WHERE payout_id = new.payout_id AND status = 'approved') THEN
        RAISE EXCEPTION 'ledger: what people move, two people approved';
    END IF;
    IF new.kind = 'unfreeze' AND NOT EXISTS (SELECT 1 FROM transactions WHERE payout_id = new.payout_id AND to_account LIKE '%:frozen') THEN
        RAISE EXCEPTION 'ledger: only what was frozen can be unfrozen';
    END IF;
    IF new.kind = 'recover' AND NOT EXISTS (SELECT 1 FROM transactions WHERE payout_id = new.payout_id AND kind = 'expose' AND attempt = new.attempt) THEN
        RAISE EXCEPTION 'ledger: only an exposure can be recovered';
    END IF;
    IF new.kind <> 'adjust' OR new.to_account = 'house:exposure' THEN
        RETURN;
    END IF;
    SELECT COALESCE(SUM(CASE WHEN from_account = 'house:fees' THEN 1 ELSE -1 END), 0), COUNT(*) FILTER (WHERE to_account = 'house:exposure') INTO borne, written_off
    FROM transactions WHERE payout_id = new.payout_id AND attempt = new.attempt AND kind = 'adjust' AND 'house:fees' IN (from_account, to_account);
    IF new.from_account = 'house:fees' THEN
        IF (SELECT COUNT(*) FROM doubles WHERE payout_id = new.payout_id AND attempt = new.attempt AND status = 'executed') <= borne - written_off THEN
            RAISE EXCEPTION 'ledger: the house bears each further payment once';
        END IF;
    ELSIF new.to_account <> 'house:fees' OR borne <= 0 THEN
        RAISE EXCEPTION 'ledger: only what the house bore can come back to it';
    END IF;
END $$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION ledger_obey() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.from_account = NEW.to_account THEN
        RAISE EXCEPTION 'ledger: a transaction moves money from one account to another';
    END IF;
    IF (NEW.position IS NULL) <> (NEW.hash IS NULL) THEN
        RAISE EXCEPTION 'ledger: a position and its hash come together';
    END IF;
    IF NOT (CASE NEW.kind
        WHEN 'reserve' THEN NEW.slot IS NOT DISTINCT FROM 'hold'
        WHEN 'settle'  THEN NEW.slot IS NOT DISTINCT FROM 'outcome'
        WHEN 'release' THEN NEW.slot IS NOT DISTINCT FROM 'outcome'
        WHEN 'freeze'  THEN NEW.slot IS NOT DISTINCT FROM 'outcome'
        WHEN 'return'  THEN NEW.slot IS NOT DISTINCT FROM 'return'
        WHEN 'expose'  THEN NEW.slot IS NOT DISTINCT FROM 'exposure/' || NEW.attempt
        ELSE NEW.slot IS NULL END) THEN
        RAISE EXCEPTION 'ledger: % does not fill the slot %', NEW.kind, NEW.slot;
    END IF;
    IF NEW.kind IN ('unfreeze', 'recover', 'adjust') THEN
        PERFORM ledger_by_people(NEW);
        RETURN NEW;
    END IF;
    IF NEW.slot IS NULL THEN
        IF NEW.payout_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM payouts WHERE id = NEW.payout_id) THEN
            RAISE EXCEPTION 'ledger: there is no payout %', NEW.payout_id;
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.slot = 'outcome' THEN
        IF NOT EXISTS (SELECT 1 FROM transactions WHERE payout_id = NEW.payout_id AND slot = 'hold' AND amount_in_minor = NEW.amount_in_minor AND currency = NEW.currency) THEN
            RAISE EXCEPTION 'ledger: an outcome needs its hold, of the same amount';
        END IF;
        RETURN NEW;
    END IF;
    IF NOT EXISTS (SELECT 1 FROM payouts WHERE id = NEW.payout_id AND amount_in_minor = NEW.amount_in_minor AND currency = NEW.currency) THEN
        RAISE EXCEPTION 'ledger: the amount of a payout is the amount of its row';
    END IF;
    IF NEW.slot = 'hold' THEN
        RETURN NEW;
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
-- +goose StatementBegin
CREATE FUNCTION ledger_sealed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.position IS NOT NULL THEN
        RAISE EXCEPTION 'ledger: transactions are append-only';
    END IF;
    IF (NEW.position IS NULL) <> (NEW.hash IS NULL) THEN
        RAISE EXCEPTION 'ledger: a position and its hash come together';
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd
DROP TRIGGER transactions_sealed ON transactions;
CREATE TRIGGER transactions_sealed BEFORE UPDATE ON transactions FOR EACH ROW EXECUTE FUNCTION ledger_sealed();
-- A line of the timeline is written by who holds its payout's lock.
ALTER TABLE timeline DROP CONSTRAINT timeline_payout_id_fkey;

-- An event's id follows from its subject, version and type. Relays take the events of one caller.
ALTER TABLE outbox DROP CONSTRAINT outbox_subject_id_version_type_key;
DROP INDEX outbox_unsent;
