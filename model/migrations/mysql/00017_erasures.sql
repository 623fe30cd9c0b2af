-- Consumers whose data were deleted because they wanted that, and what finds the sessions of one.

-- +goose Up
CREATE TABLE IF NOT EXISTS erasures (
    participant VARCHAR(64) NOT NULL PRIMARY KEY,
    session     VARCHAR(64) NULL,
    cards       BIGINT NOT NULL,
    erased_at   BIGINT NOT NULL,
    CHECK (cards >= 0),
    INDEX erasures_session (session)
) ENGINE = InnoDB DEFAULT CHARSET = ascii COLLATE = ascii_bin;

SET @make = IF((SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = 'custody_sessions' AND index_name = 'custody_sessions_participant') = 0,
    'CREATE INDEX custody_sessions_participant ON custody_sessions (participant)', 'DO 0');
PREPARE make FROM @make;
EXECUTE make;
DEALLOCATE PREPARE make;
