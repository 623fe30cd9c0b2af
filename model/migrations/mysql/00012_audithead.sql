-- The head of the audit moves over as many rows as were appended, at once: whoever appends several wrote one statement for
-- each. It still moves forwards only, and to a row that is there, over rows that are all there.

-- +goose Up
DROP TRIGGER IF EXISTS custody_audit_head_moves;
-- +goose StatementBegin
CREATE TRIGGER custody_audit_head_moves BEFORE UPDATE ON custody_audit_head FOR EACH ROW
BEGIN
    IF NEW.seq <= OLD.seq
        OR (SELECT COUNT(*) FROM custody_audit WHERE seq > OLD.seq AND seq <= NEW.seq) <> NEW.seq - OLD.seq
        OR NOT EXISTS (SELECT 1 FROM custody_audit WHERE seq = OLD.seq + 1 AND prev_hash = OLD.hash)
        OR NOT EXISTS (SELECT 1 FROM custody_audit WHERE seq = NEW.seq AND hash = NEW.hash)
    THEN
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'custody_audit_head: it moves over the rows that were appended';
    END IF;
END;
-- +goose StatementEnd
