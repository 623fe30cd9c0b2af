-- Real names: who has registered with which carrier, and what carriers have said of it on the ledger. A name and a number
-- stand here, sealed, only while somebody has to decide.

-- +goose Up
CREATE TABLE real_names (
    id                 TEXT NOT NULL PRIMARY KEY,
    consumer           TEXT NOT NULL REFERENCES participants (id),
    carrier            TEXT NOT NULL REFERENCES participants (id),
    live               TEXT,
    state              TEXT NOT NULL CHECK (state IN ('checking', 'reviewing', 'approving', 'approved', 'refused', 'withdrawing', 'revoking', 'withdrawn')),
    waiting            INTEGER NOT NULL CHECK (waiting IN (0, 1)),
    method             TEXT NOT NULL CHECK (method IN ('ID_NUMBER', 'CREDENTIAL')),
    person             TEXT,
    identity_sealed    BLOB,
    consent            TEXT NOT NULL,
    verifier           TEXT NOT NULL,
    finding            TEXT NOT NULL,
    reason             TEXT NOT NULL,
    reason_text_sealed BLOB,
    decider            TEXT,
    act                TEXT,
    valid_until        INTEGER NOT NULL,
    tries              INTEGER NOT NULL,
    next_at            INTEGER NOT NULL,
    created_at         INTEGER NOT NULL,
    decided_at         INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL,
    CHECK (COALESCE(LENGTH(identity_sealed), 0) = 0 OR state IN ('checking', 'reviewing', 'approving')),
    CHECK (person IS NULL OR state <> 'withdrawn')
) STRICT;
CREATE UNIQUE INDEX real_names_live ON real_names (live);
CREATE INDEX real_names_consumer ON real_names (consumer, created_at, id);
CREATE INDEX real_names_carrier ON real_names (carrier, waiting, created_at, id);
CREATE INDEX real_names_person ON real_names (person, created_at);
CREATE INDEX real_names_state ON real_names (state, next_at);

-- +goose StatementBegin
CREATE TRIGGER real_names_moves BEFORE UPDATE OF state ON real_names
WHEN OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN (
  'checking>reviewing', 'checking>approved', 'checking>refused', 'checking>withdrawn',
  'reviewing>approving', 'reviewing>approved', 'reviewing>refused', 'reviewing>withdrawn',
  'approving>reviewing', 'approving>approved',
  'approved>withdrawing', 'approved>withdrawn',
  'withdrawing>revoking', 'withdrawing>withdrawn',
  'revoking>withdrawing', 'revoking>withdrawn')
BEGIN
  SELECT RAISE(ABORT, 'real name may not make this move');
END;
-- +goose StatementEnd

CREATE TABLE approvals (
    carrier      TEXT NOT NULL,
    consumer     TEXT NOT NULL,
    commitment   TEXT NOT NULL,
    valid_until  INTEGER NOT NULL,
    revoked      INTEGER NOT NULL CHECK (revoked IN (0, 1)),
    version      INTEGER NOT NULL,
    tx_id        TEXT NOT NULL,
    block_number INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    PRIMARY KEY (consumer, carrier)
) STRICT;
