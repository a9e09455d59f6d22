-- +goose Up
-- The same guards as before, each looked at only where it can matter: one for
-- the columns that never change, which no step names in its SET, and a short one
-- for each that may change, but not from everything to everything. A guard that
-- names columns is not asked when another trigger changes them: none here does.
-- An older program is at work meanwhile: the tables are taken in the order of its
-- steps, else one locks the other out.
LOCK TABLE payouts, attempts, sends, transactions;
DROP TRIGGER transactions_stay ON transactions;
CREATE TRIGGER transactions_stay BEFORE UPDATE OF id, kind, payout_id, attempt, slot, evidence_id, from_account, to_account, amount_in_minor, currency, reason, booked_at, effective_at ON transactions FOR EACH ROW
WHEN ((NEW.id, NEW.kind, NEW.payout_id, NEW.attempt, NEW.slot, NEW.evidence_id, NEW.from_account, NEW.to_account, NEW.amount_in_minor, NEW.currency, NEW.reason, NEW.booked_at, NEW.effective_at) IS DISTINCT FROM (OLD.id, OLD.kind, OLD.payout_id, OLD.attempt, OLD.slot, OLD.evidence_id, OLD.from_account, OLD.to_account, OLD.amount_in_minor, OLD.currency, OLD.reason, OLD.booked_at, OLD.effective_at))
EXECUTE FUNCTION ledger_refuse('transactions are append-only');
CREATE TRIGGER transactions_sealed BEFORE UPDATE ON transactions FOR EACH ROW
WHEN (OLD.position IS NOT NULL)
EXECUTE FUNCTION ledger_refuse('transactions are append-only');
DROP TRIGGER sends_stay ON sends;
CREATE TRIGGER sends_stay BEFORE UPDATE OF payout_id, attempt, number, started_at, deadline_at, token_expires_at ON sends FOR EACH ROW
WHEN ((NEW.payout_id, NEW.attempt, NEW.number, NEW.started_at, NEW.deadline_at, NEW.token_expires_at) IS DISTINCT FROM (OLD.payout_id, OLD.attempt, OLD.number, OLD.started_at, OLD.deadline_at, OLD.token_expires_at))
EXECUTE FUNCTION ledger_refuse('a send is answered once');
CREATE TRIGGER sends_answered BEFORE UPDATE ON sends FOR EACH ROW
WHEN (OLD.answer IS NOT NULL)
EXECUTE FUNCTION ledger_refuse('a send is answered once');
DROP TRIGGER attempts_stay ON attempts;
CREATE TRIGGER attempts_stay BEFORE UPDATE OF payout_id, number, idempotency_key, body, created_at ON attempts FOR EACH ROW
WHEN ((NEW.payout_id, NEW.number, NEW.idempotency_key, NEW.body, NEW.created_at) IS DISTINCT FROM (OLD.payout_id, OLD.number, OLD.idempotency_key, OLD.body, OLD.created_at))
EXECUTE FUNCTION ledger_refuse('an attempt keeps its key, its bytes, its provider id and its end');
CREATE TRIGGER attempts_known BEFORE UPDATE OF provider_payout_id ON attempts FOR EACH ROW
WHEN (OLD.provider_payout_id IS NOT NULL AND NEW.provider_payout_id IS DISTINCT FROM OLD.provider_payout_id)
EXECUTE FUNCTION ledger_refuse('an attempt keeps its key, its bytes, its provider id and its end');
CREATE TRIGGER attempts_closed BEFORE UPDATE OF closed_at ON attempts FOR EACH ROW
WHEN (OLD.closed_at IS NOT NULL AND NEW.closed_at IS DISTINCT FROM OLD.closed_at)
EXECUTE FUNCTION ledger_refuse('an attempt keeps its key, its bytes, its provider id and its end');
DROP TRIGGER payouts_stay ON payouts;
CREATE TRIGGER payouts_stay BEFORE UPDATE OF id, kind, caller, idempotency_key, player_id, amount_in_minor, currency, merchant_account_id, user_id, payment_source_id, payment_id, reference, metadata, created_at ON payouts FOR EACH ROW
WHEN ((NEW.id, NEW.kind, NEW.caller, NEW.idempotency_key, NEW.player_id, NEW.amount_in_minor, NEW.currency, NEW.merchant_account_id, NEW.user_id, NEW.payment_source_id, NEW.payment_id, NEW.reference, NEW.metadata, NEW.created_at) IS DISTINCT FROM (OLD.id, OLD.kind, OLD.caller, OLD.idempotency_key, OLD.player_id, OLD.amount_in_minor, OLD.currency, OLD.merchant_account_id, OLD.user_id, OLD.payment_source_id, OLD.payment_id, OLD.reference, OLD.metadata, OLD.created_at))
EXECUTE FUNCTION ledger_refuse('what a payout is for does not change');
-- What is final is said in the function: a text among a guard's conditions is read
-- anew with each statement.
-- +goose StatementBegin
CREATE FUNCTION ledger_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status IN ('failed', 'returned') OR OLD.status = 'executed' AND NEW.status <> 'returned' THEN
        RAISE EXCEPTION 'ledger: a final status stays';
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER payouts_final BEFORE UPDATE OF status ON payouts FOR EACH ROW WHEN (NEW.status IS DISTINCT FROM OLD.status) EXECUTE FUNCTION ledger_final();
