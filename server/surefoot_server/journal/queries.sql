-- name: find_key
-- The call that a principal's key names.
SELECT c.*, (SELECT max(number) FROM attempt a WHERE a.call_id = c.call_id) AS attempts
FROM call c WHERE principal = :principal AND key = :key;

-- name: find_call
-- One call by its id.
SELECT c.*, (SELECT max(number) FROM attempt a WHERE a.call_id = c.call_id) AS attempts
FROM call c WHERE call_id = :call_id;

-- name: find_named
-- Calls that a key or a call id names, whoever the principal is.
SELECT c.*, (SELECT max(number) FROM attempt a WHERE a.call_id = c.call_id) AS attempts
FROM call c WHERE key = :name OR call_id = :name ORDER BY begun_at, call_id;

-- name: find_equal
-- Calls with an effect that were asked for in the same words, newest first.
SELECT c.*, (SELECT max(number) FROM attempt a WHERE a.call_id = c.call_id) AS attempts
FROM call c
WHERE effect <> 'safe' AND fingerprint = :fingerprint AND principal = :principal AND begun_at >= :since
ORDER BY begun_at DESC, call_id DESC LIMIT 64;

-- name: find_running
-- Calls that nobody has ended, oldest first.
SELECT c.*, (SELECT max(number) FROM attempt a WHERE a.call_id = c.call_id) AS attempts
FROM call c WHERE state = 'running' AND owner <> :owner ORDER BY begun_at, call_id;

-- name: call_receipts
-- What became of the answers of a call.
SELECT receipt_id, instance, disposition, delivery, error FROM receipt WHERE call_id = :call_id;

-- name: waiting_elsewhere
-- Other servers in which a request waits for a call.
SELECT DISTINCT instance FROM receipt
WHERE call_id = :call_id AND disposition = 'joined' AND answer_mac IS NULL AND delivery IS NULL AND instance <> :instance;

-- name: insert_call
-- Begin a call, unless its key is taken.
INSERT INTO call (call_id, principal, key, tool, effect, fingerprint, scope, repeated, arguments, state, owner,
                  evidence, begun_at)
VALUES (:call_id, :principal, :key, :tool, :effect, :fingerprint, :scope, :repeated, :arguments, 'running', :owner,
        :evidence, :at)
ON CONFLICT DO NOTHING
RETURNING *;

-- name: insert_attempt
-- Begin an attempt.
INSERT INTO attempt (call_id, number, owner, state, begun_at)
VALUES (:call_id, :number, :owner, 'running', :at)
RETURNING *;

-- name: last_attempt
-- The number of a call's last attempt.
SELECT max(number) AS number FROM attempt WHERE call_id = :call_id;

-- name: next_attempt
-- Whether an attempt is followed by another; they are numbered without gaps.
SELECT number FROM attempt WHERE call_id = :call_id AND number = :number + 1;

-- name: insert_receipt
-- Record one request received; or, where it is recorded, what it was answered.
INSERT INTO receipt (receipt_id, call_id, instance, principal, client, key, tool, sender_attempt, disposition,
                     arguments_mac, answer_mac, error, received_at)
VALUES (:receipt_id, :call_id, :instance, :principal, :client, :key, :tool, :sender_attempt, :disposition,
        :arguments_mac, :answer_mac, :error, :received_at)
ON CONFLICT (receipt_id) DO UPDATE SET answer_mac = excluded.answer_mac, error = excluded.error,
  call_id = excluded.call_id, disposition = excluded.disposition
WHERE receipt.answer_mac IS NULL
RETURNING *;

-- name: insert_ended_call
-- A safe call that began and ended since the last look at the spool.
INSERT INTO call (call_id, principal, key, tool, effect, fingerprint, scope, repeated, arguments, state, owner,
                  evidence, error, begun_at, ended_at)
VALUES (:call_id, :principal, :key, :tool, :effect, :fingerprint, :scope, :repeated, :arguments, :state, :owner,
        :evidence, :error, :at, :ended_at)
ON CONFLICT DO NOTHING
RETURNING *;

-- name: insert_ended_attempt
-- The attempt of such a call.
INSERT INTO attempt (call_id, number, owner, state, error, begun_at, ended_at)
VALUES (:call_id, :number, :owner, :state, :error, :at, :ended_at)
RETURNING *;

-- name: insert_ended_receipt
-- The receipt of such a call.
INSERT INTO receipt (receipt_id, call_id, instance, principal, client, key, tool, sender_attempt, disposition,
                     arguments_mac, answer_mac, error, received_at, delivery, delivery_at)
VALUES (:receipt_id, :call_id, :instance, :principal, :client, :key, :tool, :sender_attempt, :disposition,
        :arguments_mac, :answer_mac, :error, :received_at, :delivery, :delivery_at)
ON CONFLICT (receipt_id) DO NOTHING
RETURNING *;

-- name: reopen_call
-- Another attempt of a call, if it still stands where the caller of this saw it.
UPDATE call SET state = 'running', owner = :owner, evidence = :evidence, result = NULL, error = NULL, ended_at = NULL,
  resolved = NULL
WHERE call_id = :call_id AND state = :state AND owner = :seen_owner
RETURNING *;

-- name: take_over
-- Own a call whose owner is dead, if nobody else was faster.
UPDATE call SET owner = :owner WHERE call_id = :call_id AND state = 'running' AND owner = :seen_owner
RETURNING *;

-- name: close_attempt
-- The end of an attempt; closed once.
UPDATE attempt SET state = :state, error = :error, ended_at = :at
WHERE call_id = :call_id AND number = :number AND ended_at IS NULL
RETURNING *;

-- name: close_call
-- The outcome of a call, told by its owner.
UPDATE call SET state = :state, result = :result, error = :error, ended_at = :at
WHERE call_id = :call_id AND owner = :owner AND ended_at IS NULL
RETURNING *;

-- name: close_receipt
-- The digest of the answer that a request was given.
UPDATE receipt SET answer_mac = :answer_mac, error = :error WHERE receipt_id = :receipt_id AND answer_mac IS NULL
RETURNING *;

-- name: deliver_receipt
-- What became of an answer on its way.
UPDATE receipt SET delivery = :delivery, delivery_at = :at WHERE receipt_id = :receipt_id AND delivery IS NULL
RETURNING *;

-- name: resolve_call
-- A person said what became of a call in doubt; what its tool said of it is no longer the answer.
UPDATE call SET state = :state, result = NULL, error = :error, resolved = :resolved, ended_at = :at
WHERE call_id = :call_id AND state = 'in_doubt'
RETURNING *;

-- name: insert_job
-- A call left a job behind.
INSERT INTO job (job_id, call_id, principal, tool, place, state, begun_at)
VALUES (:job_id, :call_id, :principal, :tool, :place, 'running', :at)
ON CONFLICT DO NOTHING
RETURNING *;

-- name: end_job
-- How a job ended, told once.
UPDATE job SET state = :state, exit_code = :exit_code, signal = :signal, ended_at = :ended_at
WHERE job_id = :job_id AND state = 'running'
RETURNING *;

-- name: running_jobs
-- Jobs of which no end is recorded, oldest first.
SELECT * FROM job WHERE state = 'running' ORDER BY begun_at, job_id;

-- name: ended_job
-- How a job ended, if that is recorded.
SELECT * FROM job WHERE job_id = :job_id AND state <> 'running';

-- name: expire_bodies
-- Results past their time: that the call was done is still known.
UPDATE call SET result = NULL, expired_at = :now WHERE call_id IN
  (SELECT call_id FROM call WHERE result IS NOT NULL AND ended_at < :before ORDER BY ended_at LIMIT :limit)
RETURNING *;

-- name: forget_calls
-- Calls past their time, whoever did not end them.
DELETE FROM call WHERE call_id IN (SELECT call_id FROM call
  WHERE begun_at < :before AND coalesce(ended_at, begun_at) < :before ORDER BY begun_at LIMIT :limit)
RETURNING call_id;

-- name: forget_attempts
-- Attempts of a call that is forgotten.
DELETE FROM attempt WHERE call_id = :call_id RETURNING call_id, number;

-- name: forget_jobs
-- Jobs of a call that is forgotten.
DELETE FROM job WHERE call_id = :call_id RETURNING job_id;

-- name: forget_receipts_of
-- Receipts of a call that is forgotten.
DELETE FROM receipt WHERE call_id = :call_id RETURNING receipt_id;

-- name: forget_receipts
-- Receipts of no call, past their time.
DELETE FROM receipt WHERE receipt_id IN (SELECT receipt_id FROM receipt r
  WHERE received_at < :before AND NOT EXISTS (SELECT 1 FROM call c WHERE c.call_id = r.call_id)
  ORDER BY received_at LIMIT :limit)
RETURNING receipt_id;

-- name: insert_event
-- One thing written.
INSERT INTO event (instance, seq, at, kind, rows, detail, chain)
VALUES (:instance, :seq, :at, :kind, :rows, :detail, :chain);

-- name: seal
-- Where the chain of an instance stands.
UPDATE instance SET seq = :seq, chain = :chain WHERE instance = :instance;

-- name: oldest_events
-- The oldest events that are kept.
SELECT id, instance, seq, rows, chain FROM event ORDER BY id LIMIT :limit;

-- name: row_exists
-- Whether a row that an event speaks of is there still: a call, an attempt, a job or a receipt.
SELECT 1 AS found FROM call WHERE :kind = 'call' AND call_id = :name
UNION ALL SELECT 1 FROM attempt WHERE :kind = 'attempt' AND call_id = :name
UNION ALL SELECT 1 FROM job WHERE :kind = 'job' AND job_id = :name
UNION ALL SELECT 1 FROM receipt WHERE :kind = 'receipt' AND receipt_id = :name
LIMIT 1;

-- name: forget_events
-- Events up to one, whoever wrote them.
DELETE FROM event WHERE id <= :id;

-- name: anchor
-- From where on the chain of an instance is kept.
UPDATE instance SET anchor_seq = :seq, anchor_chain = :chain WHERE instance = :instance;

-- name: forget_instances
-- Server processes that ended long ago and of which nothing is left.
DELETE FROM instance WHERE ended_at < :before
  AND NOT EXISTS (SELECT 1 FROM event WHERE event.instance = instance.instance)
  AND NOT EXISTS (SELECT 1 FROM call WHERE call.owner = instance.instance)
RETURNING instance;

-- name: insert_instance
-- A server process begins.
INSERT INTO instance (instance, pid, version, started_at, chain, anchor_chain)
VALUES (:instance, :pid, :version, :at, :chain, :chain)
RETURNING *;

-- name: find_instance
-- One server process.
SELECT * FROM instance WHERE instance = :instance;

-- name: end_instance
-- A server process ended.
UPDATE instance SET ended_at = :at WHERE instance = :instance AND ended_at IS NULL RETURNING *;

-- name: open_instances
-- Server processes of which no end is recorded.
SELECT instance FROM instance WHERE ended_at IS NULL AND instance <> :owner;

-- name: last_time
-- The latest time of what was last written, by whichever clock; no row where nothing was.
SELECT max(at) AS at FROM (SELECT at FROM event ORDER BY id DESC LIMIT 256) AS newest HAVING count(*) > 0;

-- name: all_instances
-- Every server process, oldest first.
SELECT * FROM instance ORDER BY started_at, instance;

-- name: all_events
-- Everything written, oldest first.
SELECT * FROM event ORDER BY id;

-- name: last_events
-- The newest of what was written, newest first.
SELECT * FROM event ORDER BY id DESC LIMIT :limit;

-- name: events_after
-- What was written after an event, oldest first.
SELECT * FROM event WHERE id > :id ORDER BY id LIMIT :limit;

-- name: all_receipts
-- Every request received, oldest first.
SELECT * FROM receipt ORDER BY received_at, receipt_id;

-- name: all_calls
-- Every call, oldest first.
SELECT * FROM call ORDER BY begun_at, call_id;

-- name: all_attempts
-- Every attempt, by call.
SELECT * FROM attempt ORDER BY call_id, number;

-- name: all_jobs
-- Every job, oldest first.
SELECT * FROM job ORDER BY begun_at, job_id;

-- name: count_receipts
-- Receipts by disposition since a time, of one tool and principal or of all.
SELECT disposition, count(*) AS n FROM receipt
WHERE received_at >= :since AND (:tool IS NULL OR tool = :tool)
  AND (:principal IS NULL OR principal = :principal) GROUP BY disposition;

-- name: count_calls
-- Calls by tool, principal, client (of the request that began it), state and that of the first attempt; and how many were
-- commands that are known to only read (in a text of JSON each quotation mark has a backslash, so this stands in none;
-- the sign between is a colon, which would name a parameter).
SELECT c.tool, c.principal, c.state, a.state AS first_attempt,
  (SELECT r.client FROM receipt r WHERE r.call_id = c.call_id
   ORDER BY r.received_at, r.receipt_id LIMIT 1) AS client, count(*) AS n,
  sum(CASE WHEN c.evidence LIKE '%"probe"_true%' THEN 1 ELSE 0 END) AS probes
FROM call c JOIN attempt a ON a.call_id = c.call_id AND a.number = 1
WHERE c.begun_at >= :since AND (:tool IS NULL OR c.tool = :tool)
  AND (:principal IS NULL OR c.principal = :principal) GROUP BY 1, 2, 3, 4, 5;

-- name: count_jobs
-- Jobs by state since a time, of one tool and principal or of all.
SELECT state, count(*) AS n FROM job
WHERE begun_at >= :since AND (:tool IS NULL OR tool = :tool)
  AND (:principal IS NULL OR principal = :principal) GROUP BY state;

-- name: count_errors
-- Failed and refused requests by code and origin. A call that failed is counted by its own error, once.
SELECT json_extract(error, '$.code') AS code, json_extract(error, '$.origin') AS origin, count(*) AS n FROM (
  SELECT tool, principal, error, begun_at AS at FROM call WHERE error IS NOT NULL
  UNION ALL
  SELECT tool, principal, error, received_at FROM receipt WHERE disposition IN ('conflict', 'denied', 'invalid')
) AS failures WHERE at >= :since AND (:tool IS NULL OR tool = :tool)
  AND (:principal IS NULL OR principal = :principal) GROUP BY 1, 2 ORDER BY n DESC, 1, 2;

-- name: recent_failures
-- The newest failures and refusals.
SELECT at, tool, call_id, key, kind, error FROM (
  SELECT begun_at AS at, tool, principal, call_id, key, state AS kind, error FROM call WHERE error IS NOT NULL
  UNION ALL
  SELECT received_at, tool, principal, NULL, key, disposition, error FROM receipt
  WHERE disposition IN ('conflict', 'denied', 'invalid')
) AS failures WHERE at >= :since AND (:tool IS NULL OR tool = :tool)
  AND (:principal IS NULL OR principal = :principal) ORDER BY at DESC LIMIT :limit;

-- name: written_by
-- What one server process wrote after one of its own events, a row for each attempt, receipt and job named there.
SELECT e.seq, e.kind, j.key AS name, a.state, a.number, a.begun_at, a.ended_at, c.tool AS call_tool,
  coalesce(a.error, r.error) AS error, r.disposition, r.tool AS receipt_tool, r.delivery, b.state AS job_state
FROM event e
LEFT JOIN json_each(CASE WHEN e.kind IN ('start', 'take over', 'expire', 'forget', 'carry') THEN '{}' ELSE e.rows END) j
LEFT JOIN attempt a ON j.key LIKE 'attempt/%' AND a.call_id = substr(j.key, 9, 32)
  AND a.number = CASE WHEN j.key LIKE 'attempt/%' THEN CAST(substr(j.key, 42) AS INTEGER) END
LEFT JOIN call c ON c.call_id = a.call_id
LEFT JOIN receipt r ON j.key LIKE 'receipt/%' AND r.receipt_id = substr(j.key, 9)
LEFT JOIN job b ON j.key LIKE 'job/%' AND b.job_id = substr(j.key, 5)
WHERE e.instance = :instance AND e.seq > :after AND e.seq <= :upto ORDER BY e.seq;

-- name: count_running
-- Calls that one server process carries out now.
SELECT count(*) AS n FROM call WHERE state = 'running' AND owner = :owner;

-- name: change_setting
-- Another value of a setting.
UPDATE setting SET value = :value WHERE name = :name;

-- name: get_setting
-- One setting of the journal.
SELECT value FROM setting WHERE name = :name;

-- name: insert_setting
-- Set it.
INSERT INTO setting (name, value) VALUES (:name, :value);
