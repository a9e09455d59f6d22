-- +goose Up
-- Each index is written by every payout, and most were read by few: those that
-- only people's questions used go; those that remain leave out what ends as most
-- payouts do. What a constraint makes an index for stays, since SQLite drops none.
DROP INDEX payouts_by_status;
CREATE INDEX payouts_by_status ON payouts (status, created_at, id) WHERE status <> 'executed';

-- Two attempts are never alive at once: each follows one that is closed, and what is
-- closed stays so.
DROP INDEX attempts_alive;
-- +goose StatementBegin
CREATE TRIGGER attempts_follow BEFORE INSERT ON attempts
WHEN NEW.number < 1 OR NEW.number > 1 AND NOT EXISTS (SELECT 1 FROM attempts WHERE payout_id = NEW.payout_id AND number = NEW.number - 1 AND closed_at IS NOT NULL)
BEGIN SELECT RAISE(ABORT, 'ledger: an attempt follows one that is closed'); END;
-- +goose StatementEnd

DROP INDEX transactions_from;
DROP INDEX transactions_to;
CREATE INDEX transactions_exposure ON transactions (currency) WHERE from_account = 'house:exposure' OR to_account = 'house:exposure';

-- Relays take the events of one caller.
DROP INDEX outbox_unsent;
