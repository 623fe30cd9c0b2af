-- +goose Up
-- The records of package model. Times are milliseconds since 1970 UTC, 0 for never. Lists are JSON arrays.
-- The triggers at the end hold the transition tables of state.go.

CREATE TABLE participants (
  id            TEXT PRIMARY KEY NOT NULL,
  role          TEXT NOT NULL,
  kind          TEXT NOT NULL CHECK (kind IN ('organisation', 'consumer', 'system')),
  name          TEXT,
  state         TEXT NOT NULL CHECK (state IN ('pending', 'registering', 'registered')),
  register_act  TEXT,
  key_id        TEXT,
  tx_id         TEXT,
  frozen        TEXT NOT NULL,
  created_at    INTEGER NOT NULL,
  registered_at INTEGER NOT NULL
) STRICT;
CREATE INDEX participants_kind ON participants (kind, role, id);
CREATE INDEX participants_register_act ON participants (register_act);

CREATE TABLE people (
  id             TEXT PRIMARY KEY NOT NULL,
  participant_id TEXT NOT NULL REFERENCES participants (id),
  username       TEXT NOT NULL,
  password_hash  TEXT NOT NULL,
  roles          TEXT NOT NULL,
  must_change    INTEGER NOT NULL CHECK (must_change IN (0, 1)),
  state          TEXT NOT NULL CHECK (state IN ('active', 'disabled')),
  created_at     INTEGER NOT NULL,
  last_login_at  INTEGER NOT NULL,
  failed_logins  INTEGER NOT NULL,
  locked_until   INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX people_username ON people (username);
CREATE INDEX people_participant_id ON people (participant_id);

CREATE TABLE accounts (
  id             TEXT PRIMARY KEY NOT NULL,
  app_id         TEXT NOT NULL,
  openid_index   TEXT NOT NULL,
  openid_sealed  BLOB,
  participant_id TEXT NOT NULL REFERENCES participants (id),
  created_at     INTEGER NOT NULL,
  last_login_at  INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX accounts_openid ON accounts (app_id, openid_index);
CREATE UNIQUE INDEX accounts_participant_id ON accounts (participant_id);

CREATE TABLE lots (
  hash           TEXT PRIMARY KEY NOT NULL,
  issuer         TEXT NOT NULL REFERENCES participants (id),
  rule           TEXT NOT NULL,
  owner          TEXT NOT NULL REFERENCES participants (id),
  status         TEXT NOT NULL CHECK (status IN ('PENDING', 'OWNED', 'IN_TRADE', 'SPENT', 'RETIRED', 'ABANDONED')),
  frozen         TEXT NOT NULL,
  retail_policy  TEXT NOT NULL,
  restrictions   TEXT NOT NULL,
  card_count     INTEGER NOT NULL,
  segment_count  INTEGER NOT NULL,
  salt_sealed    BLOB,
  trade_id       TEXT,
  made_by_act    TEXT,
  made_tx        TEXT,
  parents        TEXT NOT NULL,
  children       TEXT NOT NULL,
  version        INTEGER NOT NULL,
  held_by        TEXT,
  reversed_until INTEGER NOT NULL,
  issued_tx      TEXT,
  block_number   INTEGER NOT NULL,
  created_at     INTEGER NOT NULL,
  updated_at     INTEGER NOT NULL,
  owned_since    INTEGER NOT NULL
) STRICT;
CREATE INDEX lots_owner ON lots (owner, status, created_at, hash);
CREATE INDEX lots_issuer ON lots (issuer, status);
CREATE INDEX lots_held_by ON lots (held_by);
CREATE INDEX lots_made_by_act ON lots (made_by_act);

CREATE TABLE lot_parents (
  child  TEXT NOT NULL REFERENCES lots (hash),
  parent TEXT NOT NULL REFERENCES lots (hash),
  PRIMARY KEY (child, parent)
) STRICT;
CREATE INDEX lot_parents_parent ON lot_parents (parent);

-- Live runs don't overlap, so the last one that begins before a card is the only one that can hold it. Runs of spent
-- lots do: they are looked for by magnitude (see segment.go).
CREATE TABLE segments (
  id         INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  lot_hash   TEXT NOT NULL REFERENCES lots (hash),
  owner      TEXT NOT NULL,
  live       INTEGER NOT NULL CHECK (live IN (0, 1)),
  rule       TEXT NOT NULL,
  head       TEXT NOT NULL,
  width      INTEGER NOT NULL,
  lo         INTEGER NOT NULL,
  hi         INTEGER NOT NULL CHECK (hi >= lo),
  card_count INTEGER NOT NULL,
  magnitude  INTEGER NOT NULL
) STRICT;
CREATE INDEX segments_live ON segments (live, rule, head, width, lo);
CREATE INDEX segments_owner ON segments (owner, live, rule, head, width, lo);
CREATE INDEX segments_lot_hash ON segments (lot_hash, head, width, lo);
CREATE INDEX segments_magnitude ON segments (rule, head, width, magnitude, lo);

CREATE TABLE trades (
  id                 TEXT PRIMARY KEY NOT NULL,
  batch              TEXT,
  mode               TEXT NOT NULL CHECK (mode IN ('NAMED', 'BEARER')),
  lot_hash           TEXT NOT NULL REFERENCES lots (hash),
  seller             TEXT NOT NULL REFERENCES participants (id),
  receiver           TEXT REFERENCES participants (id),
  state              TEXT NOT NULL CHECK (state IN ('offering', 'offered', 'confirming', 'declining', 'cancelling', 'releasing',
                       'confirmed', 'declined', 'cancelled', 'released', 'failed')),
  pending_act        TEXT,
  code_sealed        BLOB,
  code_index         TEXT,
  live_code          TEXT CHECK (live_code IS NULL OR state IN ('offering', 'offered', 'confirming', 'declining', 'cancelling', 'releasing')),
  `count`            INTEGER NOT NULL,
  reverses           TEXT,
  reason_code        TEXT,
  reason_text_sealed BLOB,
  offered_at         INTEGER NOT NULL,
  expires_at         INTEGER NOT NULL,
  offer_tx           TEXT,
  offer_block        INTEGER NOT NULL,
  offer_device       TEXT,
  end_tx             TEXT,
  end_block          INTEGER NOT NULL,
  end_device         TEXT,
  ended_at           INTEGER NOT NULL,
  release_after      INTEGER NOT NULL,
  created_at         INTEGER NOT NULL,
  created_by         TEXT
) STRICT;
CREATE UNIQUE INDEX trades_live_code ON trades (live_code);
CREATE INDEX trades_code_index ON trades (code_index);
CREATE INDEX trades_lot_hash ON trades (lot_hash);
CREATE INDEX trades_batch ON trades (batch);
CREATE INDEX trades_seller ON trades (seller, created_at, id);
CREATE INDEX trades_receiver ON trades (receiver, created_at, id);
CREATE INDEX trades_created_at ON trades (created_at, id);
CREATE INDEX trades_state ON trades (state, expires_at);

CREATE TABLE acts (
  id            TEXT PRIMARY KEY NOT NULL,
  `function`    TEXT NOT NULL,
  contract      TEXT NOT NULL,
  actor         TEXT NOT NULL REFERENCES participants (id),
  person        TEXT,
  subject       TEXT NOT NULL,
  state         TEXT NOT NULL CHECK (state IN ('accepted', 'signed', 'prepared', 'submitted', 'committed', 'failed')),
  fields_sealed BLOB,
  body          BLOB,
  attempt       INTEGER NOT NULL CHECK (attempt >= 1),
  key_id        TEXT,
  not_after     INTEGER NOT NULL,
  request_id    TEXT,
  proof         BLOB,
  proposal      BLOB,
  tx_id         TEXT,
  sent          INTEGER NOT NULL CHECK (sent IN (0, 1)),
  sent_at       INTEGER NOT NULL,
  tries         INTEGER NOT NULL,
  lease_owner   TEXT,
  lease_until   INTEGER NOT NULL,
  next_at       INTEGER NOT NULL,
  error_code    TEXT,
  error_text    TEXT,
  waits_for     TEXT,
  block_number  INTEGER NOT NULL,
  committed_at  INTEGER NOT NULL,
  result        BLOB,
  created_at    INTEGER NOT NULL,
  updated_at    INTEGER NOT NULL,
  deadline      INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX acts_tx_id ON acts (tx_id);
CREATE INDEX acts_state ON acts (state, next_at);
CREATE INDEX acts_request_id ON acts (request_id);
CREATE INDEX acts_subject ON acts (subject, state);
CREATE INDEX acts_waits_for ON acts (waits_for);
CREATE INDEX acts_actor ON acts (actor, created_at, id);
CREATE INDEX acts_created_at ON acts (created_at, id);

CREATE TABLE reservations (
  id     INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  act_id TEXT NOT NULL REFERENCES acts (id),
  owner  TEXT NOT NULL,
  rule   TEXT NOT NULL,
  head   TEXT NOT NULL,
  width  INTEGER NOT NULL,
  lo     INTEGER NOT NULL,
  hi     INTEGER NOT NULL CHECK (hi >= lo)
) STRICT;
CREATE INDEX reservations_owner ON reservations (owner, rule, head, width, lo);
CREATE INDEX reservations_act_id ON reservations (act_id);

CREATE TABLE idempotency (
  actor           TEXT NOT NULL,
  route           TEXT NOT NULL,
  idempotency_key TEXT NOT NULL,
  body_digest     TEXT NOT NULL,
  act_id          TEXT,
  status          INTEGER NOT NULL,
  response        BLOB,
  created_at      INTEGER NOT NULL,
  PRIMARY KEY (actor, route, idempotency_key)
) STRICT;

CREATE TABLE checkpoints (
  name       TEXT PRIMARY KEY NOT NULL,
  value      INTEGER NOT NULL,
  hash       TEXT NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE imports (
  id             TEXT PRIMARY KEY NOT NULL,
  participant_id TEXT NOT NULL REFERENCES participants (id),
  person         TEXT,
  file_name      TEXT NOT NULL,
  size           INTEGER NOT NULL,
  state          TEXT NOT NULL CHECK (state IN ('queued', 'reading', 'issuing', 'done', 'failed')),
  partial        INTEGER NOT NULL CHECK (partial IN (0, 1)),
  issue          INTEGER NOT NULL CHECK (issue IN (0, 1)),
  retail_policy  TEXT NOT NULL,
  restrictions   TEXT NOT NULL,
  row_count      INTEGER NOT NULL,
  accepted       INTEGER NOT NULL,
  rejected       INTEGER NOT NULL,
  bytes_done     INTEGER NOT NULL,
  bytes_total    INTEGER NOT NULL,
  lots           TEXT NOT NULL,
  error_code     TEXT,
  error_text     TEXT,
  lease_owner    TEXT,
  lease_until    INTEGER NOT NULL,
  created_at     INTEGER NOT NULL,
  updated_at     INTEGER NOT NULL
) STRICT;
CREATE INDEX imports_state ON imports (state, created_at);
CREATE INDEX imports_participant_id ON imports (participant_id, created_at, id);

CREATE TABLE card_details (
  head          TEXT NOT NULL,
  width         INTEGER NOT NULL,
  tail          INTEGER NOT NULL,
  rule          TEXT NOT NULL,
  import_id     TEXT REFERENCES imports (id),
  owner_carrier TEXT NOT NULL REFERENCES participants (id),
  imsi_sealed   BLOB,
  msisdn_sealed BLOB,
  created_at    INTEGER NOT NULL,
  PRIMARY KEY (head, width, tail, rule)
) STRICT, WITHOUT ROWID;
CREATE INDEX card_details_import_id ON card_details (import_id);
CREATE INDEX card_details_owner_carrier ON card_details (owner_carrier);

CREATE TABLE jobs (
  id             TEXT PRIMARY KEY NOT NULL,
  participant_id TEXT NOT NULL REFERENCES participants (id),
  person         TEXT,
  kind           TEXT NOT NULL,
  state          TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed')),
  total          INTEGER NOT NULL,
  done           INTEGER NOT NULL,
  failed         INTEGER NOT NULL,
  items_sealed   BLOB,
  results        BLOB,
  error_code     TEXT,
  lease_owner    TEXT,
  lease_until    INTEGER NOT NULL,
  created_at     INTEGER NOT NULL,
  updated_at     INTEGER NOT NULL
) STRICT;
CREATE INDEX jobs_state ON jobs (state, created_at);
CREATE INDEX jobs_participant_id ON jobs (participant_id, created_at, id);

-- +goose StatementBegin
CREATE TRIGGER participants_moves BEFORE UPDATE OF state ON participants
WHEN OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN (
  'pending>registering', 'pending>registered',
  'registering>pending', 'registering>registered')
BEGIN
  SELECT RAISE(ABORT, 'participant may not make this move');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER people_moves BEFORE UPDATE OF state ON people
WHEN OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN (
  'active>disabled',
  'disabled>active')
BEGIN
  SELECT RAISE(ABORT, 'person may not make this move');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER lots_moves BEFORE UPDATE OF status ON lots
WHEN OLD.status <> NEW.status AND OLD.status || '>' || NEW.status NOT IN (
  'PENDING>OWNED', 'PENDING>IN_TRADE', 'PENDING>SPENT', 'PENDING>RETIRED', 'PENDING>ABANDONED',
  'OWNED>IN_TRADE', 'OWNED>SPENT', 'OWNED>RETIRED',
  'IN_TRADE>OWNED', 'IN_TRADE>SPENT',
  'ABANDONED>OWNED', 'ABANDONED>IN_TRADE', 'ABANDONED>SPENT', 'ABANDONED>RETIRED')
BEGIN
  SELECT RAISE(ABORT, 'lot may not make this move');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER trades_moves BEFORE UPDATE OF state ON trades
WHEN OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN (
  'offering>offered', 'offering>failed', 'offering>confirmed', 'offering>declined', 'offering>cancelled', 'offering>released',
  'offered>confirming', 'offered>declining', 'offered>cancelling', 'offered>releasing', 'offered>confirmed', 'offered>declined', 'offered>cancelled', 'offered>released',
  'confirming>offered', 'confirming>confirmed', 'confirming>declined', 'confirming>cancelled', 'confirming>released',
  'declining>offered', 'declining>confirmed', 'declining>declined', 'declining>cancelled', 'declining>released',
  'cancelling>offered', 'cancelling>confirmed', 'cancelling>declined', 'cancelling>cancelled', 'cancelling>released',
  'releasing>offered', 'releasing>confirmed', 'releasing>declined', 'releasing>cancelled', 'releasing>released',
  'failed>offered', 'failed>confirmed', 'failed>declined', 'failed>cancelled', 'failed>released')
BEGIN
  SELECT RAISE(ABORT, 'trade may not make this move');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER acts_moves BEFORE UPDATE OF state ON acts
WHEN OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN (
  'accepted>signed', 'accepted>failed', 'accepted>committed',
  'signed>prepared', 'signed>failed', 'signed>committed',
  'prepared>submitted', 'prepared>signed', 'prepared>accepted', 'prepared>failed', 'prepared>committed',
  'submitted>prepared', 'submitted>accepted', 'submitted>committed', 'submitted>failed',
  'failed>committed')
BEGIN
  SELECT RAISE(ABORT, 'act may not make this move');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER imports_moves BEFORE UPDATE OF state ON imports
WHEN OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN (
  'queued>reading', 'queued>failed',
  'reading>queued', 'reading>issuing', 'reading>done', 'reading>failed',
  'issuing>done', 'issuing>failed')
BEGIN
  SELECT RAISE(ABORT, 'import may not make this move');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER jobs_moves BEFORE UPDATE OF state ON jobs
WHEN OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN (
  'queued>running', 'queued>failed',
  'running>queued', 'running>done', 'running>failed')
BEGIN
  SELECT RAISE(ABORT, 'job may not make this move');
END;
-- +goose StatementEnd
