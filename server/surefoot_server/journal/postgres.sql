-- name: schema
-- Version 2, as in `schema.sql`; in a schema of its own, for its names are plain words.
CREATE TABLE setting (
  name  TEXT PRIMARY KEY,
  value BYTEA NOT NULL
);

CREATE TABLE instance (
  instance     TEXT PRIMARY KEY,
  epoch        BIGINT NOT NULL DEFAULT 1,
  pid          BIGINT NOT NULL,
  version      TEXT NOT NULL,
  started_at   DOUBLE PRECISION NOT NULL,
  ended_at     DOUBLE PRECISION,
  seq          BIGINT NOT NULL DEFAULT 0,
  chain        TEXT NOT NULL,
  anchor_seq   BIGINT NOT NULL DEFAULT 0,
  anchor_chain TEXT NOT NULL
);

CREATE TABLE call (
  call_id     TEXT PRIMARY KEY,
  principal   TEXT NOT NULL,
  key         TEXT,
  tool        TEXT NOT NULL,
  effect      TEXT NOT NULL,
  fingerprint TEXT,
  scope       TEXT NOT NULL,
  repeated    BIGINT NOT NULL,
  arguments   TEXT NOT NULL,
  state       TEXT NOT NULL CHECK (state IN ('running', 'succeeded', 'failed', 'in_doubt')),
  owner       TEXT NOT NULL,
  evidence    TEXT NOT NULL,
  result      TEXT,
  error       TEXT,
  resolved    TEXT,
  begun_at    DOUBLE PRECISION NOT NULL,
  ended_at    DOUBLE PRECISION,
  expired_at  DOUBLE PRECISION
);
CREATE UNIQUE INDEX call_key ON call (principal, key) WHERE key IS NOT NULL;
CREATE INDEX call_fingerprint ON call (fingerprint) WHERE effect <> 'safe';
CREATE INDEX call_running ON call (owner) WHERE state = 'running';
CREATE INDEX call_begun ON call (begun_at);
CREATE INDEX call_body ON call (ended_at) WHERE result IS NOT NULL;

CREATE TABLE attempt (
  call_id  TEXT NOT NULL,
  number   BIGINT NOT NULL,
  owner    TEXT NOT NULL,
  state    TEXT NOT NULL CHECK (state IN ('running', 'succeeded', 'failed', 'in_doubt')),
  error    TEXT,
  begun_at DOUBLE PRECISION NOT NULL,
  ended_at DOUBLE PRECISION,
  PRIMARY KEY (call_id, number)
);

CREATE TABLE receipt (
  receipt_id     TEXT PRIMARY KEY,
  call_id        TEXT,
  instance       TEXT NOT NULL,
  principal      TEXT NOT NULL,
  client         TEXT,
  key            TEXT,
  tool           TEXT NOT NULL,
  sender_attempt BIGINT,
  disposition    TEXT NOT NULL CHECK (disposition IN
                   ('ran', 'joined', 'replayed', 'in_doubt', 'conflict', 'denied', 'invalid')),
  arguments_mac  TEXT,
  answer_mac     TEXT,
  error          TEXT,
  received_at    DOUBLE PRECISION NOT NULL,
  delivery       TEXT CHECK (delivery IN ('delivered', 'stopped', 'lost')),
  delivery_at    DOUBLE PRECISION
);
CREATE INDEX receipt_received ON receipt (received_at);
CREATE INDEX receipt_call ON receipt (call_id);

-- Its ids have gaps where a transaction was rolled back; writers are serial, so they are in order.
CREATE TABLE event (
  id       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  instance TEXT NOT NULL,
  seq      BIGINT NOT NULL,
  at       DOUBLE PRECISION NOT NULL,
  kind     TEXT NOT NULL,
  rows     TEXT NOT NULL,
  detail   TEXT NOT NULL,
  chain    TEXT NOT NULL
);
CREATE UNIQUE INDEX event_seq ON event (instance, seq);

-- name: jobs
-- What version 3 adds, as in `schema.sql`.
CREATE TABLE job (
  job_id    TEXT PRIMARY KEY,
  call_id   TEXT NOT NULL,
  principal TEXT NOT NULL,
  tool      TEXT NOT NULL,
  place     TEXT NOT NULL,
  state     TEXT NOT NULL CHECK (state IN ('running', 'exited', 'timed_out', 'stopped', 'lost')),
  exit_code BIGINT,
  signal    TEXT,
  begun_at  DOUBLE PRECISION NOT NULL,
  ended_at  DOUBLE PRECISION
);
CREATE INDEX job_call ON job (call_id);
CREATE INDEX job_running ON job (begun_at) WHERE state = 'running';
CREATE INDEX job_begun ON job (begun_at);

-- name: count_journals
-- Whether the tables are there.
SELECT count(*) AS n FROM pg_tables WHERE schemaname = 'surefoot' AND tablename = 'setting';

-- name: owner_lock
-- Whether a session holds the advisory lock with this key; looking takes nothing.
SELECT 1 AS found FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND classid = :high AND objid = :low;

-- name: take_lock
-- Hold it until this session ends.
SELECT pg_try_advisory_lock(:key) AS taken;

-- name: begin_epoch
-- A server lost its lock and has another one.
UPDATE instance SET epoch = :epoch WHERE instance = :instance RETURNING *;

-- name: end_sessions
-- End what is left of a session whose connection was lost, and wait until it is gone.
SELECT pg_terminate_backend(pid, 5000) AS ended FROM pg_stat_activity
WHERE application_name = :application AND usename = current_user AND datname = current_database()
  AND pid <> pg_backend_pid();

-- name: forget_instances
-- As in `queries.sql`; owners have an epoch after their name.
DELETE FROM instance WHERE ended_at < :before
  AND NOT EXISTS (SELECT 1 FROM event WHERE event.instance = instance.instance)
  AND NOT EXISTS (SELECT 1 FROM call WHERE split_part(call.owner, '/', 1) = instance.instance)
RETURNING instance;

-- name: written_by
-- What one server process wrote after one of its own events, a row for each attempt, receipt and job named there.
SELECT e.seq, e.kind, j.key AS name, a.state, a.number, a.begun_at, a.ended_at, c.tool AS call_tool,
  coalesce(a.error, r.error) AS error, r.disposition, r.tool AS receipt_tool, r.delivery, b.state AS job_state
FROM event e
LEFT JOIN LATERAL json_each(
  CAST(CASE WHEN e.kind IN ('start', 'take over', 'expire', 'forget', 'carry') THEN '{}' ELSE e.rows END AS json)) j
  ON true
LEFT JOIN attempt a ON j.key LIKE 'attempt/%' AND a.call_id = substr(j.key, 9, 32)
  AND a.number = CASE WHEN j.key LIKE 'attempt/%' THEN CAST(substr(j.key, 42) AS INTEGER) END
LEFT JOIN call c ON c.call_id = a.call_id
LEFT JOIN receipt r ON j.key LIKE 'receipt/%' AND r.receipt_id = substr(j.key, 9)
LEFT JOIN job b ON j.key LIKE 'job/%' AND b.job_id = substr(j.key, 5)
WHERE e.instance = :instance AND e.seq > :after AND e.seq <= :upto ORDER BY e.seq;
