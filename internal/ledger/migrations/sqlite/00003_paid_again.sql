-- +goose Up
-- A provider that pays one attempt three times: each payment is borne by the
-- house, and may come back.

DROP INDEX transactions_made_good;
-- An exposure is made good once.
CREATE UNIQUE INDEX transactions_made_good ON transactions (payout_id, attempt) WHERE kind IN ('recover', 'adjust') AND to_account = 'house:exposure';

-- +goose StatementBegin
CREATE TRIGGER transactions_adjusted BEFORE INSERT ON transactions WHEN NEW.kind = 'adjust' AND NEW.to_account <> 'house:exposure' BEGIN
    SELECT RAISE(ABORT, 'ledger: the house bears each further payment once')
    WHERE NEW.from_account = 'house:fees'
      AND (SELECT COUNT(*) FROM doubles WHERE payout_id = NEW.payout_id AND attempt = NEW.attempt AND status = 'executed')
       <= (SELECT COALESCE(SUM(CASE WHEN from_account = 'house:fees' THEN 1 ELSE -1 END), 0) FROM transactions
           WHERE payout_id = NEW.payout_id AND attempt = NEW.attempt AND kind = 'adjust' AND 'house:fees' IN (from_account, to_account) AND to_account <> 'house:exposure');
    SELECT RAISE(ABORT, 'ledger: only what the house bore can come back to it')
    WHERE NEW.from_account <> 'house:fees'
      AND (NEW.to_account <> 'house:fees' OR 0 >= (SELECT COALESCE(SUM(CASE WHEN from_account = 'house:fees' THEN 1 ELSE -1 END), 0) FROM transactions
           WHERE payout_id = NEW.payout_id AND attempt = NEW.attempt AND kind = 'adjust' AND 'house:fees' IN (from_account, to_account)));
END;
-- +goose StatementEnd
