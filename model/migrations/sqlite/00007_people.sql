-- Two people for what is dangerous, and how much a key may sign. Nothing here is ever deleted.

-- +goose Up

-- What shows that two accounts are one person's.
CREATE TABLE identities (
    person_id    TEXT NOT NULL PRIMARY KEY REFERENCES people (id),
    staff_number TEXT,
    mobile_index TEXT,
    updated_at   INTEGER NOT NULL
) STRICT;

CREATE TABLE custody_proposals (
    id              TEXT NOT NULL PRIMARY KEY,
    operation       TEXT NOT NULL,
    arguments       TEXT NOT NULL,
    description     TEXT NOT NULL,
    reason          TEXT NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('proposed', 'approved', 'executing', 'executed', 'failed', 'rejected', 'withdrawn', 'expired')),
    proposer        TEXT NOT NULL,
    proposer_marks  TEXT NOT NULL,
    decider         TEXT,
    decider_marks   TEXT NOT NULL,
    decision        TEXT NOT NULL,
    error_code      TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL CHECK (expires_at > created_at),
    decided_at      INTEGER NOT NULL,
    begun_at        INTEGER NOT NULL,
    ended_at        INTEGER NOT NULL,
    lease_owner     TEXT NOT NULL,
    lease_until     INTEGER NOT NULL,
    kek_version     INTEGER NOT NULL,
    seal            BLOB NOT NULL,
    CHECK (state NOT IN ('approved', 'executing', 'executed', 'failed') OR (decider IS NOT NULL AND decider <> proposer))
) STRICT;
CREATE INDEX custody_proposals_state ON custody_proposals (state, created_at, id);
CREATE INDEX custody_proposals_created_at ON custody_proposals (created_at, id);

-- How many signatures a day. Without a row the default of the post holds.
CREATE TABLE custody_quotas (
    name       TEXT NOT NULL PRIMARY KEY,
    daily      INTEGER NOT NULL CHECK (daily >= 0),
    changed_by TEXT NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;

-- What an owner's key in a slot has signed, in the same number of bytes for ever.
CREATE TABLE custody_usage (
    owner       TEXT NOT NULL,
    slot        TEXT NOT NULL,
    day         INTEGER NOT NULL,
    used        INTEGER NOT NULL CHECK (used >= 0),
    usual       INTEGER NOT NULL CHECK (usual >= 0),
    busy_until  INTEGER NOT NULL,
    stopped_at  INTEGER NOT NULL,
    PRIMARY KEY (owner, slot)
) STRICT;

-- +goose StatementBegin
CREATE TRIGGER custody_proposals_moves BEFORE UPDATE ON custody_proposals
WHEN NEW.id <> OLD.id OR NEW.operation <> OLD.operation OR NEW.arguments <> OLD.arguments OR NEW.description <> OLD.description
  OR NEW.reason <> OLD.reason OR NEW.proposer <> OLD.proposer OR NEW.proposer_marks <> OLD.proposer_marks
  OR NEW.created_at <> OLD.created_at OR NEW.expires_at <> OLD.expires_at
  OR (OLD.decider IS NOT NULL AND (NEW.decider IS NOT OLD.decider OR NEW.decider_marks <> OLD.decider_marks OR NEW.decided_at <> OLD.decided_at))
  OR (NEW.state <> OLD.state AND OLD.state || '>' || NEW.state NOT IN ('proposed>approved', 'proposed>rejected', 'proposed>withdrawn', 'proposed>expired', 'approved>executing', 'approved>failed', 'executing>executed', 'executing>failed'))
BEGIN
    SELECT RAISE(ABORT, 'custody_proposals: this change is not allowed');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER custody_proposals_delete BEFORE DELETE ON custody_proposals
BEGIN
    SELECT RAISE(ABORT, 'custody_proposals: rows are not deleted');
END;
-- +goose StatementEnd
