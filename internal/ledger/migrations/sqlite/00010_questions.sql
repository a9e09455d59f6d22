-- +goose Up
-- A proposal is bound to what its case asks, too: cases.version is one more with
-- each question that is added.
ALTER TABLE resolutions ADD COLUMN case_version INTEGER NOT NULL DEFAULT 0; -- 0: not known, of a program before this was kept
-- +goose StatementBegin
CREATE TRIGGER resolutions_asked BEFORE UPDATE OF case_version ON resolutions
WHEN NEW.case_version <> OLD.case_version
BEGIN SELECT RAISE(ABORT, 'ledger: a proposal stays what it was'); END;
-- +goose StatementEnd
