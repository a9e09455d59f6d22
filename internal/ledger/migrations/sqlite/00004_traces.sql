-- +goose Up
-- Where a request was traced, what its trace is known by (W3C traceparent), so
-- that whoever starts the payout's run goes on with it. For those who watch: no
-- decision reads it, and a request that was not traced has no row.
CREATE TABLE traces (
    payout_id   TEXT NOT NULL PRIMARY KEY REFERENCES payouts (id),
    traceparent TEXT NOT NULL CHECK (length(traceparent) = 55)
);
