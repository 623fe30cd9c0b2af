-- Traces name terminals by their serial numbers, which are found by the hash that the ledger has. A gateway key is retired when
-- every terminal has asked by another one.

-- +goose Up
SET @make = IF((SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'devices' AND column_name = 'gateway') > 0,
    'DO 0', 'ALTER TABLE devices ADD COLUMN gateway VARCHAR(64), ADD COLUMN seen_at BIGINT NOT NULL DEFAULT 0');
PREPARE make FROM @make;
EXECUTE make;
DEALLOCATE PREPARE make;
SET @make = IF((SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = 'devices' AND index_name = 'devices_serial') = 0,
    'CREATE INDEX devices_serial ON devices (serial_hash)', 'DO 0');
PREPARE make FROM @make;
EXECUTE make;
DEALLOCATE PREPARE make;

-- What the ledger contradicts is put right, as it is with lots, trades and acts.
DROP TRIGGER IF EXISTS devices_moves;
-- +goose StatementBegin
CREATE TRIGGER devices_moves BEFORE UPDATE ON devices FOR EACH ROW
IF OLD.state <> NEW.state AND CONCAT(OLD.state, '>', NEW.state) NOT IN (
  'ticketed>enrolling', 'ticketed>revoked',
  'enrolling>active', 'enrolling>suspended', 'enrolling>lost', 'enrolling>revoked', 'enrolling>failed',
  'active>suspended', 'active>lost', 'active>revoked',
  'suspended>active', 'suspended>lost', 'suspended>revoked',
  'lost>active', 'lost>revoked',
  'failed>active', 'failed>suspended', 'failed>revoked')
  AND NOT EXISTS (SELECT 1 FROM repairs WHERE subject = OLD.id AND open = 1)
THEN
  SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'device may not make this move';
END IF;
-- +goose StatementEnd
