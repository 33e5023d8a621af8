-- name: schema
-- Version 2, to which `jobs` below adds. Times are seconds since the epoch. Rows are added and closed; only retention deletes.
CREATE TABLE IF NOT EXISTS setting (
  name  TEXT PRIMARY KEY,
  value ANY NOT NULL
) STRICT;

-- One server process on this journal; it lives as long as it holds its lock.
CREATE TABLE IF NOT EXISTS instance (
  instance     TEXT PRIMARY KEY,
  pid          INTEGER NOT NULL,
  version      TEXT NOT NULL,
  started_at   REAL NOT NULL,
  ended_at     REAL,
  seq          INTEGER NOT NULL DEFAULT 0,
  chain        TEXT NOT NULL,
  anchor_seq   INTEGER NOT NULL DEFAULT 0,
  anchor_chain TEXT NOT NULL
) STRICT;

-- One intent of a caller.
CREATE TABLE IF NOT EXISTS call (
  call_id     TEXT PRIMARY KEY,
  principal   TEXT NOT NULL,
  key         TEXT,
  tool        TEXT NOT NULL,
  effect      TEXT NOT NULL,
  fingerprint TEXT,
  scope       TEXT NOT NULL,
  repeated    INTEGER NOT NULL,
  arguments   TEXT NOT NULL,
  state       TEXT NOT NULL CHECK (state IN ('running', 'succeeded', 'failed', 'in_doubt')),
  owner       TEXT NOT NULL,
  evidence    TEXT NOT NULL,
  result      TEXT,
  error       TEXT,
  resolved    TEXT,
  begun_at    REAL NOT NULL,
  ended_at    REAL,
  expired_at  REAL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS call_key ON call (principal, key) WHERE key IS NOT NULL;
CREATE INDEX IF NOT EXISTS call_fingerprint ON call (fingerprint) WHERE effect <> 'safe';
CREATE INDEX IF NOT EXISTS call_running ON call (owner) WHERE state = 'running';
CREATE INDEX IF NOT EXISTS call_begun ON call (begun_at);
CREATE INDEX IF NOT EXISTS call_body ON call (ended_at) WHERE result IS NOT NULL;

-- One try at carrying out a call.
CREATE TABLE IF NOT EXISTS attempt (
  call_id  TEXT NOT NULL,
  number   INTEGER NOT NULL,
  owner    TEXT NOT NULL,
  state    TEXT NOT NULL CHECK (state IN ('running', 'succeeded', 'failed', 'in_doubt')),
  error    TEXT,
  begun_at REAL NOT NULL,
  ended_at REAL,
  PRIMARY KEY (call_id, number)
) STRICT, WITHOUT ROWID;

-- One request received.
CREATE TABLE IF NOT EXISTS receipt (
  receipt_id     TEXT PRIMARY KEY,
  call_id        TEXT,
  instance       TEXT NOT NULL,
  principal      TEXT NOT NULL,
  client         TEXT,
  key            TEXT,
  tool           TEXT NOT NULL,
  sender_attempt INTEGER,
  disposition    TEXT NOT NULL CHECK (disposition IN
                   ('ran', 'joined', 'replayed', 'in_doubt', 'conflict', 'denied', 'invalid')),
  arguments_mac  TEXT,
  answer_mac     TEXT,
  error          TEXT,
  received_at    REAL NOT NULL,
  delivery       TEXT CHECK (delivery IN ('delivered', 'stopped', 'lost')),
  delivery_at    REAL
) STRICT;
CREATE INDEX IF NOT EXISTS receipt_received ON receipt (received_at);
CREATE INDEX IF NOT EXISTS receipt_call ON receipt (call_id);

-- What was written, in order; each row of the tables above is as its last event says.
CREATE TABLE IF NOT EXISTS event (
  id       INTEGER PRIMARY KEY,
  instance TEXT NOT NULL,
  seq      INTEGER NOT NULL,
  at       REAL NOT NULL,
  kind     TEXT NOT NULL,
  rows     TEXT NOT NULL,
  detail   TEXT NOT NULL,
  chain    TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS event_seq ON event (instance, seq);

-- name: jobs
-- What version 3 adds: an effect that goes on after the call that began it.
CREATE TABLE job (
  job_id    TEXT PRIMARY KEY,
  call_id   TEXT NOT NULL,
  principal TEXT NOT NULL,
  tool      TEXT NOT NULL,
  place     TEXT NOT NULL,
  state     TEXT NOT NULL CHECK (state IN ('running', 'exited', 'timed_out', 'stopped', 'lost')),
  exit_code INTEGER,
  signal    TEXT,
  begun_at  REAL NOT NULL,
  ended_at  REAL
) STRICT;
CREATE INDEX job_call ON job (call_id);
CREATE INDEX job_running ON job (begun_at) WHERE state = 'running';
CREATE INDEX job_begun ON job (begun_at);
