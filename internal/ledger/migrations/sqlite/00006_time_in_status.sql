-- +goose Up
-- Since when a payout is in its status: for those who watch, no decision reads
-- it. The database writes it with each new status, also where an older program,
-- which does not know it, is at work. No guard names it.
ALTER TABLE payouts ADD COLUMN status_at INTEGER NOT NULL DEFAULT 0; -- 0: since it was accepted; of what was final before this was kept, not known
-- What is final stays 0: to write all rows of years anew stops everything meanwhile.
UPDATE payouts SET status_at = COALESCE((SELECT MAX(occurred_at) FROM outbox WHERE subject_id = payouts.id), updated_at)
WHERE status IN ('pending', 'authorized', 'parked');
-- +goose StatementBegin
CREATE TRIGGER payouts_since AFTER UPDATE OF status ON payouts
WHEN NEW.status IS NOT OLD.status
BEGIN UPDATE payouts SET status_at = NEW.updated_at WHERE id = NEW.id; END;
-- +goose StatementEnd
