-- Recoveries after a theft: how far each is.

-- +goose Up
CREATE TABLE IF NOT EXISTS recoveries (
    id          VARCHAR(64) NOT NULL,
    participant VARCHAR(64) NOT NULL,
    live        VARCHAR(64),
    state       VARCHAR(32) NOT NULL CHECK (state IN ('stopping', 'replacing', 'waiting', 'releasing', 'done')),
    key_id      VARCHAR(64) NOT NULL,
    new_key_id  VARCHAR(64),
    freezes     BIGINT NOT NULL CHECK (freezes IN (0, 1)),
    actor       VARCHAR(128) NOT NULL,
    releaser    VARCHAR(128),
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY recoveries_live (live),
    KEY recoveries_participant (participant, created_at, id)
) ENGINE=InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin;

DROP TRIGGER IF EXISTS recoveries_moves;
-- +goose StatementBegin
CREATE TRIGGER recoveries_moves BEFORE UPDATE ON recoveries FOR EACH ROW
IF OLD.state <> NEW.state AND CONCAT(OLD.state, '>', NEW.state) NOT IN (
  'stopping>replacing', 'replacing>waiting', 'replacing>done', 'waiting>releasing', 'releasing>done')
THEN
  SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'recovery may not make this move';
END IF;
-- +goose StatementEnd
