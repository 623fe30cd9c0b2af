-- Consumers whose data were deleted because they wanted that, and what finds the sessions of one.

-- +goose Up
CREATE TABLE erasures (
    participant TEXT NOT NULL PRIMARY KEY,
    session     TEXT,
    cards       INTEGER NOT NULL CHECK (cards >= 0),
    erased_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX erasures_session ON erasures (session);
CREATE INDEX custody_sessions_participant ON custody_sessions (participant);
