-- Terminals of organisations, and the keys by which the gateway signs what it answers them.

-- +goose Up
CREATE TABLE IF NOT EXISTS devices (
    id             VARCHAR(64) NOT NULL,
    participant    VARCHAR(64) NOT NULL,
    name           VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    holder         VARCHAR(64),
    state          VARCHAR(32) NOT NULL CHECK (state IN ('ticketed', 'enrolling', 'active', 'suspended', 'lost', 'revoked', 'failed')),
    ticket_index   VARCHAR(64),
    ticket_until   BIGINT NOT NULL,
    act            VARCHAR(128),
    key_id         VARCHAR(64),
    public         LONGBLOB,
    serial         VARCHAR(32) NOT NULL,
    serial_salt    VARCHAR(64) NOT NULL,
    serial_hash    VARCHAR(64) NOT NULL,
    ledger_status  VARCHAR(32) NOT NULL,
    ledger_version BIGINT NOT NULL,
    tx_id          VARCHAR(128),
    order_act      VARCHAR(128),
    error_code     VARCHAR(64),
    replaces       VARCHAR(64),
    maker          VARCHAR(64),
    created_at     BIGINT NOT NULL,
    enrolled_at    BIGINT NOT NULL,
    stopped_at     BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY devices_ticket (ticket_index),
    UNIQUE KEY devices_key (key_id),
    KEY devices_participant (participant, created_at, id),
    CONSTRAINT devices_participant_fk FOREIGN KEY (participant) REFERENCES participants (id)
) ENGINE=InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin;

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
THEN
  SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'device may not make this move';
END IF;
-- +goose StatementEnd

CREATE TABLE IF NOT EXISTS gateway_keys (
    id             VARCHAR(64) NOT NULL,
    `number`       BIGINT NOT NULL,
    public         LONGBLOB NOT NULL,
    sealed         LONGBLOB NOT NULL,
    retired        BIGINT NOT NULL CHECK (retired IN (0, 1)),
    ledger_status  VARCHAR(32) NOT NULL,
    ledger_version BIGINT NOT NULL,
    tx_id          VARCHAR(128),
    created_at     BIGINT NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY gateway_keys_number (`number`)
) ENGINE=InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin;
