-- +goose Up
-- A proposal is bound to what its case asks, too: cases.version is one more with
-- each question that is added.
ALTER TABLE resolutions ADD COLUMN case_version BIGINT NOT NULL DEFAULT 0; -- 0: not known, of a program before this was kept
CREATE TRIGGER resolutions_asked BEFORE UPDATE OF case_version ON resolutions FOR EACH ROW
WHEN (NEW.case_version <> OLD.case_version)
EXECUTE FUNCTION ledger_refuse('a proposal stays what it was');
