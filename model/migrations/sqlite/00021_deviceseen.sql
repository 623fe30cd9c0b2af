-- Traces name terminals by their serial numbers, which are found by the hash that the ledger has. A gateway key is retired when
-- every terminal has asked by another one.

-- +goose Up
ALTER TABLE devices ADD COLUMN gateway TEXT;
ALTER TABLE devices ADD COLUMN seen_at INTEGER NOT NULL DEFAULT 0;
CREATE INDEX devices_serial ON devices (serial_hash);

-- What the ledger contradicts is put right, as it is with lots, trades and acts.
DROP TRIGGER devices_moves;
-- +goose StatementBegin
CREATE TRIGGER devices_moves BEFORE UPDATE OF state ON devices
WHEN OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN (
  'ticketed>enrolling', 'ticketed>revoked',
  'enrolling>active', 'enrolling>suspended', 'enrolling>lost', 'enrolling>revoked', 'enrolling>failed',
  'active>suspended', 'active>lost', 'active>revoked',
  'suspended>active', 'suspended>lost', 'suspended>revoked',
  'lost>active', 'lost>revoked',
  'failed>active', 'failed>suspended', 'failed>revoked')
  AND NOT EXISTS (SELECT 1 FROM repairs WHERE subject = OLD.id AND open = 1)
BEGIN
  SELECT RAISE(ABORT, 'device may not make this move');
END;
-- +goose StatementEnd
