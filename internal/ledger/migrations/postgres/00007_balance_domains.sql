-- +goose Up
-- PostgreSQL keeps a check as text and reads it anew with each statement; a
-- domain's it compiles once a session. So what one column may hold is said by its
-- type (00008 goes on with the other tables). SQLite has no domains, and reads its checks once: there is
-- nothing to do there.
-- A type without a rule is put in place first, since that rewrites no table; its rule needs no
-- look at the rows, which the check has held to it. Balances alone, before the others: who accepts a
-- payout is at them first, and who settles one at the payout.
CREATE DOMAIN balance AS BIGINT;
ALTER TABLE balances DROP CONSTRAINT balances_available_check, DROP CONSTRAINT balances_held_check, DROP CONSTRAINT balances_frozen_check,
    ALTER available TYPE balance, ALTER held TYPE balance, ALTER frozen TYPE balance;
ALTER DOMAIN balance ADD CHECK (VALUE >= 0) NOT VALID;
