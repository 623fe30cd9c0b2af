-- The anchors of the audit, as the ledger has them, and what the audit is searched by.

-- +goose Up
CREATE TABLE IF NOT EXISTS custody_anchors (
    stream       VARCHAR(64) NOT NULL,
    sequence     BIGINT NOT NULL CHECK (sequence >= 0),
    digest       VARCHAR(64) NOT NULL,
    tx_id        VARCHAR(64) NOT NULL,
    block_number BIGINT NOT NULL,
    at           BIGINT NOT NULL,
    PRIMARY KEY (stream, sequence)
) ENGINE = InnoDB DEFAULT CHARSET = ascii COLLATE = ascii_bin;

DROP TRIGGER IF EXISTS custody_anchors_update;
-- +goose StatementBegin
CREATE TRIGGER custody_anchors_update BEFORE UPDATE ON custody_anchors FOR EACH ROW
BEGIN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'custody_anchors: rows are for ever';
END;
-- +goose StatementEnd

DROP TRIGGER IF EXISTS custody_anchors_delete;
-- +goose StatementBegin
CREATE TRIGGER custody_anchors_delete BEFORE DELETE ON custody_anchors FOR EACH ROW
BEGIN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'custody_anchors: rows are not deleted';
END;
-- +goose StatementEnd

-- The key that a row is about. It follows from what is hashed, and is no part of it. MySQL has no IF NOT EXISTS for
-- columns and indexes, and this may be run again; one ALTER does all of it or nothing.
SET @search = IF((SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'custody_audit' AND column_name = 'key_id') > 0,
    'DO 0',
    'ALTER TABLE custody_audit
        ADD COLUMN key_id VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin
            GENERATED ALWAYS AS (COALESCE(JSON_UNQUOTE(JSON_EXTRACT(detail, ''$.key'')), IF(LEFT(act, 4) = ''key.'', subject, NULL))) VIRTUAL,
        ADD INDEX custody_audit_key (key_id, seq),
        ADD INDEX custody_audit_actor (actor, seq),
        ADD INDEX custody_audit_act (act, seq),
        ADD INDEX custody_audit_at (at)');
PREPARE search FROM @search;
EXECUTE search;
DEALLOCATE PREPARE search;
