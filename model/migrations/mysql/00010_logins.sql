-- Who has logged in, and what he asked for while he was: by this custody knows whose wish a signature is. What is over is
-- deleted; the audit has the rest.

-- +goose Up
CREATE TABLE IF NOT EXISTS custody_sessions (
    digest      VARCHAR(64) NOT NULL PRIMARY KEY,
    participant VARCHAR(64) NOT NULL,
    role        VARCHAR(32) NOT NULL,
    person      VARCHAR(64) NULL,
    login_at    BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    tag         LONGBLOB NOT NULL,
    CHECK (expires_at > login_at),
    INDEX custody_sessions_expires_at (expires_at),
    INDEX custody_sessions_person (person)
) ENGINE = InnoDB DEFAULT CHARSET = ascii COLLATE = ascii_bin;

CREATE TABLE IF NOT EXISTS custody_authorisations (
    owner      VARCHAR(64) NOT NULL,
    `function` VARCHAR(64) NOT NULL,
    subject    VARCHAR(128) NOT NULL,
    digest     VARCHAR(64) NOT NULL,
    session    VARCHAR(64) NOT NULL,
    login_at   BIGINT NOT NULL,
    asked_at   BIGINT NOT NULL,
    not_after  BIGINT NOT NULL,
    tag        LONGBLOB NOT NULL,
    PRIMARY KEY (owner, `function`, subject),
    INDEX custody_authorisations_not_after (not_after)
) ENGINE = InnoDB DEFAULT CHARSET = ascii COLLATE = ascii_bin;

DROP TRIGGER IF EXISTS custody_authorisations_fixed;
-- +goose StatementBegin
CREATE TRIGGER custody_authorisations_fixed BEFORE UPDATE ON custody_authorisations FOR EACH ROW
BEGIN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'custody_authorisations: rows do not change';
END;
-- +goose StatementEnd
