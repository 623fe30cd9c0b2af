-- A proposal is the matter of the platform's people, or of those of one organisation.

-- +goose Up
-- MySQL has no ADD COLUMN IF NOT EXISTS.
SET @make = IF((SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'custody_proposals' AND column_name = 'organisation') = 0,
    'ALTER TABLE custody_proposals ADD COLUMN organisation VARCHAR(64) NOT NULL DEFAULT ''''', 'DO 0');
PREPARE make FROM @make;
EXECUTE make;
DEALLOCATE PREPARE make;

DROP TRIGGER IF EXISTS custody_proposals_moves;
-- +goose StatementBegin
CREATE TRIGGER custody_proposals_moves BEFORE UPDATE ON custody_proposals FOR EACH ROW
BEGIN
    IF NEW.id <> OLD.id OR NEW.operation <> OLD.operation OR NEW.arguments <> OLD.arguments OR NEW.description <> OLD.description
        OR NEW.reason <> OLD.reason OR NEW.proposer <> OLD.proposer OR NEW.proposer_marks <> OLD.proposer_marks OR NEW.organisation <> OLD.organisation
        OR NEW.created_at <> OLD.created_at OR NEW.expires_at <> OLD.expires_at
        OR (OLD.decider IS NOT NULL AND (NOT (NEW.decider <=> OLD.decider) OR NEW.decider_marks <> OLD.decider_marks OR NEW.decided_at <> OLD.decided_at))
        OR (NEW.state <> OLD.state AND CONCAT(OLD.state, '>', NEW.state) NOT IN ('proposed>approved', 'proposed>rejected', 'proposed>withdrawn', 'proposed>expired', 'approved>executing', 'approved>failed', 'executing>executed', 'executing>failed'))
    THEN
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'custody_proposals: this change is not allowed';
    END IF;
END;
-- +goose StatementEnd
