-- +goose Up
-- A provider that pays one attempt three times: each payment is borne by the
-- house, and may come back.

DROP INDEX transactions_made_good;
-- An exposure is made good once.
CREATE UNIQUE INDEX transactions_made_good ON transactions (payout_id, attempt) WHERE kind IN ('recover', 'adjust') AND to_account = 'house:exposure';

-- +goose StatementBegin
CREATE FUNCTION ledger_adjusted() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE borne BIGINT; written_off BIGINT;
BEGIN
    SELECT COALESCE(SUM(CASE WHEN from_account = 'house:fees' THEN 1 ELSE -1 END), 0), COUNT(*) FILTER (WHERE to_account = 'house:exposure') INTO borne, written_off
    FROM transactions WHERE payout_id = NEW.payout_id AND attempt = NEW.attempt AND kind = 'adjust' AND 'house:fees' IN (from_account, to_account);
    IF NEW.from_account = 'house:fees' THEN
        IF (SELECT COUNT(*) FROM doubles WHERE payout_id = NEW.payout_id AND attempt = NEW.attempt AND status = 'executed') <= borne - written_off THEN
            RAISE EXCEPTION 'ledger: the house bears each further payment once';
        END IF;
    ELSIF NEW.to_account <> 'house:fees' OR borne <= 0 THEN
        RAISE EXCEPTION 'ledger: only what the house bore can come back to it';
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER transactions_adjusted BEFORE INSERT ON transactions FOR EACH ROW WHEN (NEW.kind = 'adjust' AND NEW.to_account <> 'house:exposure') EXECUTE FUNCTION ledger_adjusted();
