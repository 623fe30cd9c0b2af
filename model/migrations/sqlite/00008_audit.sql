-- The anchors of the audit, as the ledger has them, and what the audit is searched by.

-- +goose Up
CREATE TABLE custody_anchors (
    stream       TEXT NOT NULL,
    sequence     INTEGER NOT NULL CHECK (sequence >= 0),
    digest       TEXT NOT NULL,
    tx_id        TEXT NOT NULL,
    block_number INTEGER NOT NULL,
    at           INTEGER NOT NULL,
    PRIMARY KEY (stream, sequence)
) STRICT;

-- +goose StatementBegin
CREATE TRIGGER custody_anchors_update BEFORE UPDATE ON custody_anchors
BEGIN
    SELECT RAISE(ABORT, 'custody_anchors: rows are for ever');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER custody_anchors_delete BEFORE DELETE ON custody_anchors
BEGIN
    SELECT RAISE(ABORT, 'custody_anchors: rows are not deleted');
END;
-- +goose StatementEnd

-- The key that a row is about. It follows from what is hashed, and is no part of it.
ALTER TABLE custody_audit ADD COLUMN key_id TEXT
    GENERATED ALWAYS AS (COALESCE(json_extract(detail, '$.key'), CASE WHEN substr(act, 1, 4) = 'key.' THEN subject END)) VIRTUAL;
CREATE INDEX custody_audit_key ON custody_audit (key_id, seq);
CREATE INDEX custody_audit_actor ON custody_audit (actor, seq);
CREATE INDEX custody_audit_act ON custody_audit (act, seq);
CREATE INDEX custody_audit_at ON custody_audit (at);
