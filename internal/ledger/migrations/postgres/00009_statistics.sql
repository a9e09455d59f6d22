-- +goose Up
-- A column that changes its type loses its statistics, and until a tenth of the
-- table has changed PostgreSQL counts none anew: a page of payouts would read all
-- of them. By itself, so that nobody waits for it: it takes no lock that a step needs.
-- Not in new books: what is counted as empty is read whole, by plans that are kept.
-- +goose StatementBegin
DO $$
DECLARE t REGCLASS;
BEGIN
    FOREACH t IN ARRAY ARRAY['balances', 'payouts', 'attempts', 'sends', 'evidence', 'transactions']::REGCLASS[] LOOP
        IF (SELECT reltuples FROM pg_class WHERE oid = t) > 0 THEN
            EXECUTE 'ANALYZE ' || t;
        END IF;
    END LOOP;
END $$;
-- +goose StatementEnd
