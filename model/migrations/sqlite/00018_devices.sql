-- Terminals of organisations, and the keys by which the gateway signs what it answers them.

-- +goose Up
CREATE TABLE devices (
    id             TEXT NOT NULL PRIMARY KEY,
    participant    TEXT NOT NULL REFERENCES participants (id),
    name           TEXT NOT NULL,
    holder         TEXT,
    state          TEXT NOT NULL CHECK (state IN ('ticketed', 'enrolling', 'active', 'suspended', 'lost', 'revoked', 'failed')),
    ticket_index   TEXT,
    ticket_until   INTEGER NOT NULL,
    act            TEXT,
    key_id         TEXT,
    public         BLOB,
    serial         TEXT NOT NULL,
    serial_salt    TEXT NOT NULL,
    serial_hash    TEXT NOT NULL,
    ledger_status  TEXT NOT NULL,
    ledger_version INTEGER NOT NULL,
    tx_id          TEXT,
    order_act      TEXT,
    error_code     TEXT,
    replaces       TEXT,
    maker          TEXT,
    created_at     INTEGER NOT NULL,
    enrolled_at    INTEGER NOT NULL,
    stopped_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX devices_ticket ON devices (ticket_index);
CREATE UNIQUE INDEX devices_key ON devices (key_id);
CREATE INDEX devices_participant ON devices (participant, created_at, id);

-- +goose StatementBegin
CREATE TRIGGER devices_moves BEFORE UPDATE OF state ON devices
WHEN OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN (
  'ticketed>enrolling', 'ticketed>revoked',
  'enrolling>active', 'enrolling>suspended', 'enrolling>lost', 'enrolling>revoked', 'enrolling>failed',
  'active>suspended', 'active>lost', 'active>revoked',
  'suspended>active', 'suspended>lost', 'suspended>revoked',
  'lost>active', 'lost>revoked',
  'failed>active', 'failed>suspended', 'failed>revoked')
BEGIN
  SELECT RAISE(ABORT, 'device may not make this move');
END;
-- +goose StatementEnd

CREATE TABLE gateway_keys (
    id             TEXT NOT NULL PRIMARY KEY,
    number         INTEGER NOT NULL,
    public         BLOB NOT NULL,
    sealed         BLOB NOT NULL,
    retired        INTEGER NOT NULL CHECK (retired IN (0, 1)),
    ledger_status  TEXT NOT NULL,
    ledger_version INTEGER NOT NULL,
    tx_id          TEXT,
    created_at     INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX gateway_keys_number ON gateway_keys (number);
