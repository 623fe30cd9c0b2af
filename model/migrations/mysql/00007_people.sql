-- Two people for what is dangerous, and how much a key may sign. Nothing here is ever deleted.

-- +goose Up

-- What shows that two accounts are one person's.
CREATE TABLE IF NOT EXISTS identities (
    person_id    VARCHAR(64) NOT NULL PRIMARY KEY,
    staff_number VARCHAR(64) NULL,
    mobile_index VARCHAR(64) NULL,
    updated_at   BIGINT NOT NULL,
    CONSTRAINT identities_person_id_fk FOREIGN KEY (person_id) REFERENCES people (id)
) ENGINE = InnoDB DEFAULT CHARSET = ascii COLLATE = ascii_bin;

CREATE TABLE IF NOT EXISTS custody_proposals (
    id              VARCHAR(64) NOT NULL PRIMARY KEY,
    operation       VARCHAR(64) NOT NULL,
    arguments       TEXT NOT NULL,
    description     TEXT NOT NULL,
    reason          TEXT NOT NULL,
    state           VARCHAR(16) NOT NULL CHECK (state IN ('proposed', 'approved', 'executing', 'executed', 'failed', 'rejected', 'withdrawn', 'expired')),
    proposer        VARCHAR(64) NOT NULL,
    proposer_marks  TEXT NOT NULL,
    decider         VARCHAR(64) NULL,
    decider_marks   TEXT NOT NULL,
    decision        TEXT NOT NULL,
    error_code      VARCHAR(64) NOT NULL,
    created_at      BIGINT NOT NULL,
    expires_at      BIGINT NOT NULL,
    decided_at      BIGINT NOT NULL,
    begun_at        BIGINT NOT NULL,
    ended_at        BIGINT NOT NULL,
    lease_owner     VARCHAR(64) NOT NULL,
    lease_until     BIGINT NOT NULL,
    kek_version     BIGINT NOT NULL,
    seal            LONGBLOB NOT NULL,
    CHECK (expires_at > created_at),
    CHECK (state NOT IN ('approved', 'executing', 'executed', 'failed') OR (decider IS NOT NULL AND decider <> proposer)),
    INDEX custody_proposals_state (state, created_at, id),
    INDEX custody_proposals_created_at (created_at, id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- How many signatures a day. Without a row the default of the post holds.
CREATE TABLE IF NOT EXISTS custody_quotas (
    name       VARCHAR(128) NOT NULL PRIMARY KEY,
    daily      BIGINT NOT NULL CHECK (daily >= 0),
    changed_by VARCHAR(128) NOT NULL,
    changed_at BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = ascii COLLATE = ascii_bin;

-- What an owner's key in a slot has signed, in the same number of bytes for ever.
CREATE TABLE IF NOT EXISTS custody_usage (
    owner       VARCHAR(64) NOT NULL,
    slot        VARCHAR(32) NOT NULL,
    day         BIGINT NOT NULL,
    used        BIGINT NOT NULL CHECK (used >= 0),
    usual       BIGINT NOT NULL CHECK (usual >= 0),
    busy_until  BIGINT NOT NULL,
    stopped_at  BIGINT NOT NULL,
    PRIMARY KEY (owner, slot)
) ENGINE = InnoDB DEFAULT CHARSET = ascii COLLATE = ascii_bin;

DROP TRIGGER IF EXISTS custody_proposals_moves;
-- +goose StatementBegin
CREATE TRIGGER custody_proposals_moves BEFORE UPDATE ON custody_proposals FOR EACH ROW
BEGIN
    IF NEW.id <> OLD.id OR NEW.operation <> OLD.operation OR NEW.arguments <> OLD.arguments OR NEW.description <> OLD.description
        OR NEW.reason <> OLD.reason OR NEW.proposer <> OLD.proposer OR NEW.proposer_marks <> OLD.proposer_marks
        OR NEW.created_at <> OLD.created_at OR NEW.expires_at <> OLD.expires_at
        OR (OLD.decider IS NOT NULL AND (NOT (NEW.decider <=> OLD.decider) OR NEW.decider_marks <> OLD.decider_marks OR NEW.decided_at <> OLD.decided_at))
        OR (NEW.state <> OLD.state AND CONCAT(OLD.state, '>', NEW.state) NOT IN ('proposed>approved', 'proposed>rejected', 'proposed>withdrawn', 'proposed>expired', 'approved>executing', 'approved>failed', 'executing>executed', 'executing>failed'))
    THEN
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'custody_proposals: this change is not allowed';
    END IF;
END;
-- +goose StatementEnd

DROP TRIGGER IF EXISTS custody_proposals_delete;
-- +goose StatementBegin
CREATE TRIGGER custody_proposals_delete BEFORE DELETE ON custody_proposals FOR EACH ROW
BEGIN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'custody_proposals: rows are not deleted';
END;
-- +goose StatementEnd
