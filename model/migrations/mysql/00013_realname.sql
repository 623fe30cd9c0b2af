-- Real names: who has registered with which carrier, and what carriers have said of it on the ledger. A name and a number
-- stand here, sealed, only while somebody has to decide.

-- +goose Up
CREATE TABLE IF NOT EXISTS real_names (
    id                 VARCHAR(64) NOT NULL,
    consumer           VARCHAR(64) NOT NULL,
    carrier            VARCHAR(64) NOT NULL,
    live               VARCHAR(160),
    state              VARCHAR(32) NOT NULL CHECK (state IN ('checking', 'reviewing', 'approving', 'approved', 'refused', 'withdrawing', 'revoking', 'withdrawn')),
    waiting            BIGINT NOT NULL CHECK (waiting IN (0, 1)),
    method             VARCHAR(32) NOT NULL CHECK (method IN ('ID_NUMBER', 'CREDENTIAL')),
    person             VARCHAR(64),
    identity_sealed    LONGBLOB,
    consent            VARCHAR(32) NOT NULL,
    verifier           VARCHAR(64) NOT NULL,
    finding            VARCHAR(32) NOT NULL,
    reason             VARCHAR(32) NOT NULL,
    reason_text_sealed LONGBLOB,
    decider            VARCHAR(128),
    act                VARCHAR(128),
    valid_until        BIGINT NOT NULL,
    tries              BIGINT NOT NULL,
    next_at            BIGINT NOT NULL,
    created_at         BIGINT NOT NULL,
    decided_at         BIGINT NOT NULL,
    updated_at         BIGINT NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY real_names_live (live),
    KEY real_names_consumer (consumer, created_at, id),
    KEY real_names_carrier (carrier, waiting, created_at, id),
    KEY real_names_person (person, created_at),
    KEY real_names_state (state, next_at),
    CONSTRAINT real_names_consumer_fk FOREIGN KEY (consumer) REFERENCES participants (id),
    CONSTRAINT real_names_carrier_fk FOREIGN KEY (carrier) REFERENCES participants (id),
    CHECK (COALESCE(LENGTH(identity_sealed), 0) = 0 OR state IN ('checking', 'reviewing', 'approving')),
    CHECK (person IS NULL OR state <> 'withdrawn')
) ENGINE=InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin;

DROP TRIGGER IF EXISTS real_names_moves;
-- +goose StatementBegin
CREATE TRIGGER real_names_moves BEFORE UPDATE ON real_names FOR EACH ROW
IF OLD.state <> NEW.state AND CONCAT(OLD.state, '>', NEW.state) NOT IN (
  'checking>reviewing', 'checking>approved', 'checking>refused', 'checking>withdrawn',
  'reviewing>approving', 'reviewing>approved', 'reviewing>refused', 'reviewing>withdrawn',
  'approving>reviewing', 'approving>approved',
  'approved>withdrawing', 'approved>withdrawn',
  'withdrawing>revoking', 'withdrawing>withdrawn',
  'revoking>withdrawing', 'revoking>withdrawn')
THEN
  SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'real name may not make this move';
END IF;
-- +goose StatementEnd

CREATE TABLE IF NOT EXISTS approvals (
    carrier      VARCHAR(64) NOT NULL,
    consumer     VARCHAR(64) NOT NULL,
    commitment   VARCHAR(64) NOT NULL,
    valid_until  BIGINT NOT NULL,
    revoked      BIGINT NOT NULL CHECK (revoked IN (0, 1)),
    version      BIGINT NOT NULL,
    tx_id        VARCHAR(128) NOT NULL,
    block_number BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    PRIMARY KEY (consumer, carrier)
) ENGINE=InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin;
