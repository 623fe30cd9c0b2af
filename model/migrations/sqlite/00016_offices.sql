-- A proposal is the matter of the platform's people, or of those of one organisation.

-- +goose Up
ALTER TABLE custody_proposals ADD COLUMN organisation TEXT NOT NULL DEFAULT '';

DROP TRIGGER custody_proposals_moves;
-- +goose StatementBegin
CREATE TRIGGER custody_proposals_moves BEFORE UPDATE ON custody_proposals
WHEN NEW.id <> OLD.id OR NEW.operation <> OLD.operation OR NEW.arguments <> OLD.arguments OR NEW.description <> OLD.description
  OR NEW.reason <> OLD.reason OR NEW.proposer <> OLD.proposer OR NEW.proposer_marks <> OLD.proposer_marks OR NEW.organisation <> OLD.organisation
  OR NEW.created_at <> OLD.created_at OR NEW.expires_at <> OLD.expires_at
  OR (OLD.decider IS NOT NULL AND (NEW.decider IS NOT OLD.decider OR NEW.decider_marks <> OLD.decider_marks OR NEW.decided_at <> OLD.decided_at))
  OR (NEW.state <> OLD.state AND OLD.state || '>' || NEW.state NOT IN ('proposed>approved', 'proposed>rejected', 'proposed>withdrawn', 'proposed>expired', 'approved>executing', 'approved>failed', 'executing>executed', 'executing>failed'))
BEGIN
    SELECT RAISE(ABORT, 'custody_proposals: this change is not allowed');
END;
-- +goose StatementEnd
