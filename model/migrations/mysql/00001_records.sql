-- +goose Up
-- The records of package model. Times are milliseconds since 1970 UTC, 0 for never. Lists are JSON arrays.
-- Names and words of people are utf8mb4, all else is ASCII and compared byte by byte, as on SQLite. Each statement can be
-- repeated: MySQL commits after each, and a crash in between starts the file again.
-- The triggers at the end hold the transition tables of state.go.

CREATE TABLE IF NOT EXISTS participants (
  id            VARCHAR(64) NOT NULL,
  role          VARCHAR(64) NOT NULL,
  kind          VARCHAR(32) NOT NULL CHECK (kind IN ('organisation', 'consumer', 'system')),
  name          VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
  state         VARCHAR(32) NOT NULL CHECK (state IN ('pending', 'registering', 'registered')),
  register_act  VARCHAR(64),
  key_id        VARCHAR(64),
  tx_id         VARCHAR(128),
  frozen        TEXT NOT NULL,
  created_at    BIGINT NOT NULL,
  registered_at BIGINT NOT NULL,
  PRIMARY KEY (id),
  KEY participants_kind (kind, role, id),
  KEY participants_register_act (register_act)
) ENGINE=InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin;

CREATE TABLE IF NOT EXISTS people (
  id             VARCHAR(64) NOT NULL,
  participant_id VARCHAR(64) NOT NULL,
  username       VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  password_hash  VARCHAR(255) NOT NULL,
  roles          TEXT NOT NULL,
  must_change    BOOLEAN NOT NULL CHECK (must_change IN (0, 1)),
  state          VARCHAR(32) NOT NULL CHECK (state IN ('active', 'disabled')),
  created_at     BIGINT NOT NULL,
  last_login_at  BIGINT NOT NULL,
  failed_logins  BIGINT NOT NULL,
  locked_until   BIGINT NOT NULL,
  PRIMARY KEY (id),
  UNIQUE KEY people_username (username),
  KEY people_participant_id (participant_id),
  CONSTRAINT people_participant_id_fk FOREIGN KEY (participant_id) REFERENCES participants (id)
) ENGINE=InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin;

CREATE TABLE IF NOT EXISTS accounts (
  id             VARCHAR(64) NOT NULL,
  app_id         VARCHAR(64) NOT NULL,
  openid_index   VARCHAR(64) NOT NULL,
  openid_sealed  LONGBLOB,
  participant_id VARCHAR(64) NOT NULL,
  created_at     BIGINT NOT NULL,
  last_login_at  BIGINT NOT NULL,
  PRIMARY KEY (id),
  UNIQUE KEY accounts_openid (app_id, openid_index),
  UNIQUE KEY accounts_participant_id (participant_id),
  CONSTRAINT accounts_participant_id_fk FOREIGN KEY (participant_id) REFERENCES participants (id)
) ENGINE=InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin;

CREATE TABLE IF NOT EXISTS lots (
  hash           VARCHAR(64) NOT NULL,
  issuer         VARCHAR(64) NOT NULL,
  rule           VARCHAR(16) NOT NULL,
  owner          VARCHAR(64) NOT NULL,
  status         VARCHAR(32) NOT NULL CHECK (status IN ('PENDING', 'OWNED', 'IN_TRADE', 'SPENT', 'RETIRED', 'ABANDONED')),
  frozen         TEXT NOT NULL,
  retail_policy  VARCHAR(32) NOT NULL,
  restrictions   TEXT NOT NULL,
  card_count     BIGINT NOT NULL,
  segment_count  BIGINT NOT NULL,
  salt_sealed    LONGBLOB,
  trade_id       VARCHAR(64),
  made_by_act    VARCHAR(64),
  made_tx        VARCHAR(128),
  parents        LONGTEXT NOT NULL,
  children       LONGTEXT NOT NULL,
  version        BIGINT NOT NULL,
  held_by        VARCHAR(64),
  reversed_until BIGINT NOT NULL,
  issued_tx      VARCHAR(128),
  block_number   BIGINT NOT NULL,
  created_at     BIGINT NOT NULL,
  updated_at     BIGINT NOT NULL,
  owned_since    BIGINT NOT NULL,
  PRIMARY KEY (hash),
  KEY lots_owner (owner, status, created_at, hash),
  KEY lots_issuer (issuer, status),
  KEY lots_held_by (held_by),
  KEY lots_made_by_act (made_by_act),
  CONSTRAINT lots_issuer_fk FOREIGN KEY (issuer) REFERENCES participants (id),
  CONSTRAINT lots_owner_fk FOREIGN KEY (owner) REFERENCES participants (id)
) ENGINE=InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin;

CREATE TABLE IF NOT EXISTS lot_parents (
  child  VARCHAR(64) NOT NULL,
  parent VARCHAR(64) NOT NULL,
  PRIMARY KEY (child, parent),
  KEY lot_parents_parent (parent),
  CONSTRAINT lot_parents_child_fk FOREIGN KEY (child) REFERENCES lots (hash),
  CONSTRAINT lot_parents_parent_fk FOREIGN KEY (parent) REFERENCES lots (hash)
) ENGINE=InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin;

-- Live runs don't overlap, so the last one that begins before a card is the only one that can hold it. Runs of spent
-- lots do: they are looked for by magnitude (see segment.go).
CREATE TABLE IF NOT EXISTS segments (
  id         BIGINT NOT NULL AUTO_INCREMENT,
  lot_hash   VARCHAR(64) NOT NULL,
  owner      VARCHAR(64) NOT NULL,
  live       BOOLEAN NOT NULL CHECK (live IN (0, 1)),
  rule       VARCHAR(16) NOT NULL,
  head       VARCHAR(20) NOT NULL,
  width      TINYINT UNSIGNED NOT NULL,
  lo         INT UNSIGNED NOT NULL,
  hi         INT UNSIGNED NOT NULL,
  card_count BIGINT NOT NULL,
  magnitude  TINYINT UNSIGNED NOT NULL,
  PRIMARY KEY (id),
  KEY segments_live (live, rule, head, width, lo),
  KEY segments_owner (owner, live, rule, head, width, lo),
  KEY segments_lot_hash (lot_hash, head, width, lo),
  KEY segments_magnitude (rule, head, width, magnitude, lo),
  CONSTRAINT segments_hi_check CHECK (hi >= lo),
  CONSTRAINT segments_lot_hash_fk FOREIGN KEY (lot_hash) REFERENCES lots (hash)
) ENGINE=InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin;

CREATE TABLE IF NOT EXISTS trades (
  id                 VARCHAR(64) NOT NULL,
  batch              VARCHAR(64),
  mode               VARCHAR(32) NOT NULL CHECK (mode IN ('NAMED', 'BEARER')),
  lot_hash           VARCHAR(64) NOT NULL,
  seller             VARCHAR(64) NOT NULL,
  receiver           VARCHAR(64),
  state              VARCHAR(32) NOT NULL CHECK (state IN ('offering', 'offered', 'confirming', 'declining', 'cancelling', 'releasing',
                       'confirmed', 'declined', 'cancelled', 'released', 'failed')),
  pending_act        VARCHAR(64),
  code_sealed        LONGBLOB,
  code_index         VARCHAR(64),
  live_code          VARCHAR(64),
  `count`            BIGINT NOT NULL,
  reverses           VARCHAR(64),
  reason_code        VARCHAR(64),
  reason_text_sealed LONGBLOB,
  offered_at         BIGINT NOT NULL,
  expires_at         BIGINT NOT NULL,
  offer_tx           VARCHAR(128),
  offer_block        BIGINT NOT NULL,
  offer_device       VARCHAR(128),
  end_tx             VARCHAR(128),
  end_block          BIGINT NOT NULL,
  end_device         VARCHAR(128),
  ended_at           BIGINT NOT NULL,
  release_after      BIGINT NOT NULL,
  created_at         BIGINT NOT NULL,
  created_by         VARCHAR(64),
  PRIMARY KEY (id),
  UNIQUE KEY trades_live_code (live_code),
  KEY trades_code_index (code_index),
  KEY trades_lot_hash (lot_hash),
  KEY trades_batch (batch),
  KEY trades_seller (seller, created_at, id),
  KEY trades_receiver (receiver, created_at, id),
  KEY trades_created_at (created_at, id),
  KEY trades_state (state, expires_at),
  CONSTRAINT trades_live_code_check CHECK (live_code IS NULL OR state IN ('offering', 'offered', 'confirming', 'declining', 'cancelling', 'releasing')),
  CONSTRAINT trades_lot_hash_fk FOREIGN KEY (lot_hash) REFERENCES lots (hash),
  CONSTRAINT trades_seller_fk FOREIGN KEY (seller) REFERENCES participants (id),
  CONSTRAINT trades_receiver_fk FOREIGN KEY (receiver) REFERENCES participants (id)
) ENGINE=InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin;

CREATE TABLE IF NOT EXISTS acts (
  id            VARCHAR(64) NOT NULL,
  `function`    VARCHAR(64) NOT NULL,
  contract      VARCHAR(64) NOT NULL,
  actor         VARCHAR(64) NOT NULL,
  person        VARCHAR(64),
  subject       VARCHAR(64) NOT NULL,
  state         VARCHAR(32) NOT NULL CHECK (state IN ('accepted', 'signed', 'prepared', 'submitted', 'committed', 'failed')),
  fields_sealed LONGBLOB,
  body          LONGBLOB,
  attempt       BIGINT NOT NULL CHECK (attempt >= 1),
  key_id        VARCHAR(64),
  not_after     BIGINT NOT NULL,
  request_id    VARCHAR(64),
  proof         LONGBLOB,
  proposal      LONGBLOB,
  tx_id         VARCHAR(128),
  sent          BOOLEAN NOT NULL CHECK (sent IN (0, 1)),
  sent_at       BIGINT NOT NULL,
  tries         BIGINT NOT NULL,
  lease_owner   VARCHAR(64),
  lease_until   BIGINT NOT NULL,
  next_at       BIGINT NOT NULL,
  error_code    VARCHAR(64),
  error_text    TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
  waits_for     VARCHAR(64),
  block_number  BIGINT NOT NULL,
  committed_at  BIGINT NOT NULL,
  result        LONGBLOB,
  created_at    BIGINT NOT NULL,
  updated_at    BIGINT NOT NULL,
  deadline      BIGINT NOT NULL,
  PRIMARY KEY (id),
  UNIQUE KEY acts_tx_id (tx_id),
  KEY acts_state (state, next_at),
  KEY acts_request_id (request_id),
  KEY acts_subject (subject, state),
  KEY acts_waits_for (waits_for),
  KEY acts_actor (actor, created_at, id),
  KEY acts_created_at (created_at, id),
  CONSTRAINT acts_actor_fk FOREIGN KEY (actor) REFERENCES participants (id)
) ENGINE=InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin;

CREATE TABLE IF NOT EXISTS reservations (
  id     BIGINT NOT NULL AUTO_INCREMENT,
  act_id VARCHAR(64) NOT NULL,
  owner  VARCHAR(64) NOT NULL,
  rule   VARCHAR(16) NOT NULL,
  head   VARCHAR(20) NOT NULL,
  width  TINYINT UNSIGNED NOT NULL,
  lo     INT UNSIGNED NOT NULL,
  hi     INT UNSIGNED NOT NULL,
  PRIMARY KEY (id),
  KEY reservations_owner (owner, rule, head, width, lo),
  KEY reservations_act_id (act_id),
  CONSTRAINT reservations_hi_check CHECK (hi >= lo),
  CONSTRAINT reservations_act_id_fk FOREIGN KEY (act_id) REFERENCES acts (id)
) ENGINE=InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin;

CREATE TABLE IF NOT EXISTS idempotency (
  actor           VARCHAR(64) NOT NULL,
  route           VARCHAR(128) NOT NULL,
  idempotency_key VARCHAR(128) NOT NULL,
  body_digest     VARCHAR(128) NOT NULL,
  act_id          VARCHAR(64),
  status          BIGINT NOT NULL,
  response        LONGBLOB,
  created_at      BIGINT NOT NULL,
  PRIMARY KEY (actor, route, idempotency_key)
) ENGINE=InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin;

CREATE TABLE IF NOT EXISTS checkpoints (
  name       VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  value      BIGINT NOT NULL,
  hash       VARCHAR(64) NOT NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (name)
) ENGINE=InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin;

CREATE TABLE IF NOT EXISTS imports (
  id             VARCHAR(64) NOT NULL,
  participant_id VARCHAR(64) NOT NULL,
  person         VARCHAR(64),
  file_name      VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  size           BIGINT NOT NULL,
  state          VARCHAR(32) NOT NULL CHECK (state IN ('queued', 'reading', 'issuing', 'done', 'failed')),
  partial        BOOLEAN NOT NULL CHECK (partial IN (0, 1)),
  issue          BOOLEAN NOT NULL CHECK (issue IN (0, 1)),
  retail_policy  VARCHAR(32) NOT NULL,
  restrictions   TEXT NOT NULL,
  row_count      BIGINT NOT NULL,
  accepted       BIGINT NOT NULL,
  rejected       BIGINT NOT NULL,
  bytes_done     BIGINT NOT NULL,
  bytes_total    BIGINT NOT NULL,
  lots           LONGTEXT NOT NULL,
  error_code     VARCHAR(64),
  error_text     TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
  lease_owner    VARCHAR(64),
  lease_until    BIGINT NOT NULL,
  created_at     BIGINT NOT NULL,
  updated_at     BIGINT NOT NULL,
  PRIMARY KEY (id),
  KEY imports_state (state, created_at),
  KEY imports_participant_id (participant_id, created_at, id),
  CONSTRAINT imports_participant_id_fk FOREIGN KEY (participant_id) REFERENCES participants (id)
) ENGINE=InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin;

CREATE TABLE IF NOT EXISTS card_details (
  head          VARCHAR(20) NOT NULL,
  width         TINYINT UNSIGNED NOT NULL,
  tail          INT UNSIGNED NOT NULL,
  rule          VARCHAR(16) NOT NULL,
  import_id     VARCHAR(64),
  owner_carrier VARCHAR(64) NOT NULL,
  imsi_sealed   LONGBLOB,
  msisdn_sealed LONGBLOB,
  created_at    BIGINT NOT NULL,
  PRIMARY KEY (head, width, tail, rule),
  KEY card_details_import_id (import_id),
  KEY card_details_owner_carrier (owner_carrier),
  CONSTRAINT card_details_import_id_fk FOREIGN KEY (import_id) REFERENCES imports (id),
  CONSTRAINT card_details_owner_carrier_fk FOREIGN KEY (owner_carrier) REFERENCES participants (id)
) ENGINE=InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin;

CREATE TABLE IF NOT EXISTS jobs (
  id             VARCHAR(64) NOT NULL,
  participant_id VARCHAR(64) NOT NULL,
  person         VARCHAR(64),
  kind           VARCHAR(32) NOT NULL,
  state          VARCHAR(32) NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed')),
  total          BIGINT NOT NULL,
  done           BIGINT NOT NULL,
  failed         BIGINT NOT NULL,
  items_sealed   LONGBLOB,
  results        LONGBLOB,
  error_code     VARCHAR(64),
  lease_owner    VARCHAR(64),
  lease_until    BIGINT NOT NULL,
  created_at     BIGINT NOT NULL,
  updated_at     BIGINT NOT NULL,
  PRIMARY KEY (id),
  KEY jobs_state (state, created_at),
  KEY jobs_participant_id (participant_id, created_at, id),
  CONSTRAINT jobs_participant_id_fk FOREIGN KEY (participant_id) REFERENCES participants (id)
) ENGINE=InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin;

DROP TRIGGER IF EXISTS participants_moves;
-- +goose StatementBegin
CREATE TRIGGER participants_moves BEFORE UPDATE ON participants FOR EACH ROW
IF OLD.state <> NEW.state AND CONCAT(OLD.state, '>', NEW.state) NOT IN (
  'pending>registering', 'pending>registered',
  'registering>pending', 'registering>registered')
THEN
  SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'participant may not make this move';
END IF;
-- +goose StatementEnd

DROP TRIGGER IF EXISTS people_moves;
-- +goose StatementBegin
CREATE TRIGGER people_moves BEFORE UPDATE ON people FOR EACH ROW
IF OLD.state <> NEW.state AND CONCAT(OLD.state, '>', NEW.state) NOT IN (
  'active>disabled',
  'disabled>active')
THEN
  SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'person may not make this move';
END IF;
-- +goose StatementEnd

DROP TRIGGER IF EXISTS lots_moves;
-- +goose StatementBegin
CREATE TRIGGER lots_moves BEFORE UPDATE ON lots FOR EACH ROW
IF OLD.status <> NEW.status AND CONCAT(OLD.status, '>', NEW.status) NOT IN (
  'PENDING>OWNED', 'PENDING>IN_TRADE', 'PENDING>SPENT', 'PENDING>RETIRED', 'PENDING>ABANDONED',
  'OWNED>IN_TRADE', 'OWNED>SPENT', 'OWNED>RETIRED',
  'IN_TRADE>OWNED', 'IN_TRADE>SPENT',
  'ABANDONED>OWNED', 'ABANDONED>IN_TRADE', 'ABANDONED>SPENT', 'ABANDONED>RETIRED')
THEN
  SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'lot may not make this move';
END IF;
-- +goose StatementEnd

DROP TRIGGER IF EXISTS trades_moves;
-- +goose StatementBegin
CREATE TRIGGER trades_moves BEFORE UPDATE ON trades FOR EACH ROW
IF OLD.state <> NEW.state AND CONCAT(OLD.state, '>', NEW.state) NOT IN (
  'offering>offered', 'offering>failed', 'offering>confirmed', 'offering>declined', 'offering>cancelled', 'offering>released',
  'offered>confirming', 'offered>declining', 'offered>cancelling', 'offered>releasing', 'offered>confirmed', 'offered>declined', 'offered>cancelled', 'offered>released',
  'confirming>offered', 'confirming>confirmed', 'confirming>declined', 'confirming>cancelled', 'confirming>released',
  'declining>offered', 'declining>confirmed', 'declining>declined', 'declining>cancelled', 'declining>released',
  'cancelling>offered', 'cancelling>confirmed', 'cancelling>declined', 'cancelling>cancelled', 'cancelling>released',
  'releasing>offered', 'releasing>confirmed', 'releasing>declined', 'releasing>cancelled', 'releasing>released',
  'failed>offered', 'failed>confirmed', 'failed>declined', 'failed>cancelled', 'failed>released')
THEN
  SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'trade may not make this move';
END IF;
-- +goose StatementEnd

DROP TRIGGER IF EXISTS acts_moves;
-- +goose StatementBegin
CREATE TRIGGER acts_moves BEFORE UPDATE ON acts FOR EACH ROW
IF OLD.state <> NEW.state AND CONCAT(OLD.state, '>', NEW.state) NOT IN (
  'accepted>signed', 'accepted>failed', 'accepted>committed',
  'signed>prepared', 'signed>failed', 'signed>committed',
  'prepared>submitted', 'prepared>signed', 'prepared>accepted', 'prepared>failed', 'prepared>committed',
  'submitted>prepared', 'submitted>accepted', 'submitted>committed', 'submitted>failed',
  'failed>committed')
THEN
  SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'act may not make this move';
END IF;
-- +goose StatementEnd

DROP TRIGGER IF EXISTS imports_moves;
-- +goose StatementBegin
CREATE TRIGGER imports_moves BEFORE UPDATE ON imports FOR EACH ROW
IF OLD.state <> NEW.state AND CONCAT(OLD.state, '>', NEW.state) NOT IN (
  'queued>reading', 'queued>failed',
  'reading>queued', 'reading>issuing', 'reading>done', 'reading>failed',
  'issuing>done', 'issuing>failed')
THEN
  SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'import may not make this move';
END IF;
-- +goose StatementEnd

DROP TRIGGER IF EXISTS jobs_moves;
-- +goose StatementBegin
CREATE TRIGGER jobs_moves BEFORE UPDATE ON jobs FOR EACH ROW
IF OLD.state <> NEW.state AND CONCAT(OLD.state, '>', NEW.state) NOT IN (
  'queued>running', 'queued>failed',
  'running>queued', 'running>done', 'running>failed')
THEN
  SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'job may not make this move';
END IF;
-- +goose StatementEnd
