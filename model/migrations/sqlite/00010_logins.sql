-- Who has logged in, and what he asked for while he was: by this custody knows whose wish a signature is. What is over is
-- deleted; the audit has the rest.

-- +goose Up
CREATE TABLE custody_sessions (
    digest      TEXT NOT NULL PRIMARY KEY,
    participant TEXT NOT NULL,
    role        TEXT NOT NULL,
    person      TEXT,
    login_at    INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL CHECK (expires_at > login_at),
    tag         BLOB NOT NULL
) STRICT;
CREATE INDEX custody_sessions_expires_at ON custody_sessions (expires_at);
CREATE INDEX custody_sessions_person ON custody_sessions (person);

CREATE TABLE custody_authorisations (
    owner      TEXT NOT NULL,
    function   TEXT NOT NULL,
    subject    TEXT NOT NULL,
    digest     TEXT NOT NULL,
    session    TEXT NOT NULL,
    login_at   INTEGER NOT NULL,
    asked_at   INTEGER NOT NULL,
    not_after  INTEGER NOT NULL,
    tag        BLOB NOT NULL,
    PRIMARY KEY (owner, function, subject)
) STRICT;
CREATE INDEX custody_authorisations_not_after ON custody_authorisations (not_after);

-- +goose StatementBegin
CREATE TRIGGER custody_authorisations_fixed BEFORE UPDATE ON custody_authorisations
BEGIN
    SELECT RAISE(ABORT, 'custody_authorisations: rows do not change');
END;
-- +goose StatementEnd
