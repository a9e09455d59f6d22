-- +goose Up
-- Domains instead of checks, as in 00007. A rule over several columns of a new
-- transaction is said in its guard, for the same reason: a function is compiled once a session,
-- and so are the conditions in it, which a trigger's WHEN are not.
-- An older program is at work meanwhile: the tables are taken in the order of its
-- steps, else one locks the other out.
LOCK TABLE payouts, attempts, sends, evidence, transactions;

-- A column's type does not change under a trigger that names the column: these come back below.
DROP TRIGGER payouts_stay ON payouts;
DROP TRIGGER payouts_final ON payouts;
DROP TRIGGER attempts_stay ON attempts;
DROP TRIGGER attempts_known ON attempts;
DROP TRIGGER attempts_closed ON attempts;
DROP TRIGGER sends_answered ON sends;
DROP TRIGGER transactions_stay ON transactions;
DROP TRIGGER transactions_obey ON transactions;
DROP TRIGGER transactions_by_people ON transactions;
DROP TRIGGER transactions_adjusted ON transactions;

CREATE DOMAIN amount_in_minor AS BIGINT;
CREATE DOMAIN ordinal AS BIGINT;
CREATE DOMAIN yes_or_no AS BIGINT;
CREATE DOMAIN payout_kind AS TEXT;
CREATE DOMAIN payout_status AS TEXT;
CREATE DOMAIN money_at AS TEXT;
CREATE DOMAIN step AS TEXT;
CREATE DOMAIN attempt_status AS TEXT;
CREATE DOMAIN send_answer AS TEXT;
CREATE DOMAIN evidence_kind AS TEXT;
CREATE DOMAIN transaction_kind AS TEXT;

ALTER TABLE payouts
    DROP CONSTRAINT payouts_kind_check, DROP CONSTRAINT payouts_amount_in_minor_check, DROP CONSTRAINT payouts_status_check, DROP CONSTRAINT payouts_money_check,
    DROP CONSTRAINT payouts_attempt_check, DROP CONSTRAINT payouts_step_check, DROP CONSTRAINT payouts_unread_check, DROP CONSTRAINT payouts_version_check,
    ALTER kind TYPE payout_kind, ALTER amount_in_minor TYPE amount_in_minor, ALTER status TYPE payout_status, ALTER money TYPE money_at,
    ALTER attempt TYPE ordinal, ALTER step TYPE step, ALTER unread TYPE yes_or_no, ALTER version TYPE ordinal;
ALTER TABLE attempts DROP CONSTRAINT attempts_status_check, DROP CONSTRAINT attempts_key_reused_check,
    ALTER status TYPE attempt_status, ALTER key_reused TYPE yes_or_no;
ALTER TABLE sends DROP CONSTRAINT sends_answer_check, ALTER answer TYPE send_answer;
ALTER TABLE evidence DROP CONSTRAINT evidence_kind_check, ALTER kind TYPE evidence_kind;
ALTER TABLE transactions DROP CONSTRAINT transactions_kind_check, DROP CONSTRAINT transactions_amount_in_minor_check,
    DROP CONSTRAINT transactions_check, DROP CONSTRAINT transactions_check2, DROP CONSTRAINT transactions_check3,
    ALTER kind TYPE transaction_kind, ALTER amount_in_minor TYPE amount_in_minor;

ALTER DOMAIN amount_in_minor ADD CHECK (VALUE > 0) NOT VALID;
ALTER DOMAIN ordinal ADD CHECK (VALUE >= 1) NOT VALID;
ALTER DOMAIN yes_or_no ADD CHECK (VALUE IN (0, 1)) NOT VALID;
ALTER DOMAIN payout_kind ADD CHECK (VALUE IN ('payout', 'refund')) NOT VALID;
ALTER DOMAIN payout_status ADD CHECK (VALUE IN ('accepted', 'pending', 'authorized', 'executed', 'failed', 'returned', 'parked')) NOT VALID;
ALTER DOMAIN money_at ADD CHECK (VALUE IN ('held', 'paid', 'released', 'frozen', 'returned')) NOT VALID;
ALTER DOMAIN step ADD CHECK (VALUE IN ('create', 'wait', 'reconcile', 'try_again', 'release', 'freeze', 'return', 'park', 'done')) NOT VALID;
ALTER DOMAIN attempt_status ADD CHECK (VALUE IN ('open', 'created', 'refused', 'failed', 'executed')) NOT VALID;
ALTER DOMAIN send_answer ADD CHECK (VALUE IN ('created', 'refused', 'not_sent', 'unknown')) NOT VALID;
ALTER DOMAIN evidence_kind ADD CHECK (VALUE IN ('create', 'get', 'event', 'statement', 'person')) NOT VALID;
ALTER DOMAIN transaction_kind ADD CHECK (VALUE IN ('credit', 'debit', 'reserve', 'settle', 'release', 'freeze', 'unfreeze', 'return', 'expose', 'recover', 'adjust')) NOT VALID;

-- The guards, as they were.
CREATE TRIGGER payouts_stay BEFORE UPDATE OF id, kind, caller, idempotency_key, player_id, amount_in_minor, currency, merchant_account_id, user_id, payment_source_id, payment_id, reference, metadata, created_at ON payouts FOR EACH ROW
WHEN ((NEW.id, NEW.kind, NEW.caller, NEW.idempotency_key, NEW.player_id, NEW.amount_in_minor, NEW.currency, NEW.merchant_account_id, NEW.user_id, NEW.payment_source_id, NEW.payment_id, NEW.reference, NEW.metadata, NEW.created_at) IS DISTINCT FROM (OLD.id, OLD.kind, OLD.caller, OLD.idempotency_key, OLD.player_id, OLD.amount_in_minor, OLD.currency, OLD.merchant_account_id, OLD.user_id, OLD.payment_source_id, OLD.payment_id, OLD.reference, OLD.metadata, OLD.created_at))
EXECUTE FUNCTION ledger_refuse('what a payout is for does not change');
CREATE TRIGGER attempts_stay BEFORE UPDATE OF payout_id, number, idempotency_key, body, created_at ON attempts FOR EACH ROW
WHEN ((NEW.payout_id, NEW.number, NEW.idempotency_key, NEW.body, NEW.created_at) IS DISTINCT FROM (OLD.payout_id, OLD.number, OLD.idempotency_key, OLD.body, OLD.created_at))
EXECUTE FUNCTION ledger_refuse('an attempt keeps its key, its bytes, its provider id and its end');
CREATE TRIGGER transactions_stay BEFORE UPDATE OF id, kind, payout_id, attempt, slot, evidence_id, from_account, to_account, amount_in_minor, currency, reason, booked_at, effective_at ON transactions FOR EACH ROW
WHEN ((NEW.id, NEW.kind, NEW.payout_id, NEW.attempt, NEW.slot, NEW.evidence_id, NEW.from_account, NEW.to_account, NEW.amount_in_minor, NEW.currency, NEW.reason, NEW.booked_at, NEW.effective_at) IS DISTINCT FROM (OLD.id, OLD.kind, OLD.payout_id, OLD.attempt, OLD.slot, OLD.evidence_id, OLD.from_account, OLD.to_account, OLD.amount_in_minor, OLD.currency, OLD.reason, OLD.booked_at, OLD.effective_at))
EXECUTE FUNCTION ledger_refuse('transactions are append-only');

-- Those that are asked in every life, with their conditions inside.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION ledger_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status <> OLD.status THEN
        IF OLD.status IN ('failed', 'returned') OR OLD.status = 'executed' AND NEW.status <> 'returned' THEN
            RAISE EXCEPTION 'ledger: a final status stays';
        END IF;
        NEW.status_at := NEW.updated_at;
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER payouts_final BEFORE UPDATE OF status ON payouts FOR EACH ROW EXECUTE FUNCTION ledger_final();
-- +goose StatementBegin
CREATE FUNCTION ledger_known() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.provider_payout_id IS NOT NULL AND NEW.provider_payout_id IS DISTINCT FROM OLD.provider_payout_id THEN
        RAISE EXCEPTION 'ledger: an attempt keeps its key, its bytes, its provider id and its end';
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER attempts_known BEFORE UPDATE OF provider_payout_id ON attempts FOR EACH ROW EXECUTE FUNCTION ledger_known();
-- +goose StatementBegin
CREATE FUNCTION ledger_closed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.closed_at IS NOT NULL AND NEW.closed_at IS DISTINCT FROM OLD.closed_at THEN
        RAISE EXCEPTION 'ledger: an attempt keeps its key, its bytes, its provider id and its end';
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER attempts_closed BEFORE UPDATE OF closed_at ON attempts FOR EACH ROW EXECUTE FUNCTION ledger_closed();
-- +goose StatementBegin
CREATE FUNCTION ledger_answered() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.answer IS NOT NULL THEN
        RAISE EXCEPTION 'ledger: a send is answered once';
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER sends_answered BEFORE UPDATE ON sends FOR EACH ROW EXECUTE FUNCTION ledger_answered();

-- The amount of an outcome is that of its hold, which was held to the payout's own.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION ledger_obey() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.from_account = NEW.to_account THEN
        RAISE EXCEPTION 'ledger: a transaction moves money from one account to another';
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
    IF NEW.slot IS NULL THEN
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
    IF NEW.slot = 'return' AND NOT EXISTS (SELECT 1 FROM transactions WHERE payout_id = NEW.payout_id AND kind = 'settle') THEN
        RAISE EXCEPTION 'ledger: only what was settled can be returned';
    END IF;
    IF NEW.kind = 'expose' AND EXISTS (SELECT 1 FROM transactions WHERE payout_id = NEW.payout_id AND kind = 'settle' AND attempt = NEW.attempt) THEN
        RAISE EXCEPTION 'ledger: a settled attempt is no exposure';
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER transactions_obey BEFORE INSERT ON transactions FOR EACH ROW EXECUTE FUNCTION ledger_obey();
CREATE TRIGGER transactions_by_people BEFORE INSERT ON transactions FOR EACH ROW WHEN (NEW.kind IN ('unfreeze', 'recover', 'adjust')) EXECUTE FUNCTION ledger_by_people();
CREATE TRIGGER transactions_adjusted BEFORE INSERT ON transactions FOR EACH ROW WHEN (NEW.kind = 'adjust' AND NEW.to_account <> 'house:exposure') EXECUTE FUNCTION ledger_adjusted();
