-- name: find_key
-- The call that a principal's key names.
SELECT c.*, (SELECT max(number) FROM attempt a WHERE a.call_id = c.call_id) AS attempts
FROM call c WHERE principal = ? AND key = ?;

-- name: running_verifiable
-- Calls that nobody has ended and whose traces the state itself keeps.
SELECT c.*, (SELECT max(number) FROM attempt a WHERE a.call_id = c.call_id) AS attempts
FROM call c WHERE state = 'running' AND effect = 'verifiable';

-- name: find_call
-- One call by its id.
SELECT c.*, (SELECT max(number) FROM attempt a WHERE a.call_id = c.call_id) AS attempts
FROM call c WHERE call_id = ?;

-- name: insert_call
-- Begin a call, unless its key is taken.
INSERT INTO call (call_id, principal, key, tool, effect, fingerprint, arguments, state, owner, evidence, begun_at)
VALUES (:call_id, :principal, :key, :tool, :effect, :fingerprint, :arguments, 'running', :owner, :evidence, :at)
ON CONFLICT (principal, key) WHERE key IS NOT NULL DO NOTHING
RETURNING call_id;

-- name: insert_attempt
-- Begin an attempt.
INSERT INTO attempt (call_id, number, owner, state, begun_at) VALUES (?, ?, ?, 'running', ?);

-- name: last_attempt
-- The number of a call's last attempt.
SELECT max(number) AS number FROM attempt WHERE call_id = ?;

-- name: insert_receipt
-- Record one request received; or, where it is recorded, what it was answered.
INSERT INTO receipt (receipt_id, call_id, instance, principal, client, key, tool, sender_attempt, disposition,
                     arguments_mac, answer_mac, error, received_at)
VALUES (:receipt_id, :call_id, :instance, :principal, :client, :key, :tool, :sender_attempt, :disposition,
        :arguments_mac, :answer_mac, :error, :received_at)
ON CONFLICT (receipt_id) DO UPDATE SET answer_mac = excluded.answer_mac, error = excluded.error,
  call_id = excluded.call_id, disposition = excluded.disposition
WHERE receipt.answer_mac IS NULL;

-- name: reopen_call
-- Another attempt of a call, if it still stands where the caller of this saw it.
UPDATE call SET state = 'running', owner = :owner, evidence = :evidence, result = NULL, error = NULL, ended_at = NULL
WHERE call_id = :call_id AND state = :state AND owner = :seen_owner
RETURNING call_id;

-- name: take_over
-- Own a call whose owner is dead, if nobody else was faster.
UPDATE call SET owner = :owner WHERE call_id = :call_id AND state = 'running' AND owner = :seen_owner
RETURNING call_id;

-- name: close_attempt
-- The end of an attempt; closed once.
UPDATE attempt SET state = :state, error = :error, ended_at = :at
WHERE call_id = :call_id AND number = :number AND ended_at IS NULL;

-- name: close_call
-- The outcome of a call: that of its last attempt, whichever of several ends last.
UPDATE call SET state = :state, result = :result, error = :error, ended_at = :at
WHERE call_id = :call_id AND :number = (SELECT max(number) FROM attempt WHERE call_id = :call_id);

-- name: close_receipt
-- The digest of the answer that a request was given.
UPDATE receipt SET answer_mac = ?, error = ? WHERE receipt_id = ? AND answer_mac IS NULL;

-- name: deliver_receipt
-- The answer was fully written to the transport.
UPDATE receipt SET delivered_at = ? WHERE receipt_id = ?;

-- name: all_receipts
-- Every request received, oldest first.
SELECT * FROM receipt ORDER BY received_at, receipt_id;

-- name: all_calls
-- Every call, oldest first.
SELECT * FROM call ORDER BY begun_at, call_id;

-- name: all_attempts
-- Every attempt, by call.
SELECT * FROM attempt ORDER BY call_id, number;

-- name: count_receipts
-- Receipts by disposition since a time, for one tool or for all.
SELECT disposition, count(*) AS n FROM receipt
WHERE received_at >= :since AND (:tool IS NULL OR tool = :tool) GROUP BY disposition;

-- name: count_calls
-- Calls by tool, state and whether their first attempt succeeded.
SELECT c.tool, c.state, a.state AS first_attempt, count(*) AS n
FROM call c JOIN attempt a ON a.call_id = c.call_id AND a.number = 1
WHERE c.begun_at >= :since AND (:tool IS NULL OR c.tool = :tool) GROUP BY 1, 2, 3;

-- name: count_errors
-- Failed and refused requests by code and origin. A call that failed is counted by its own error, once.
SELECT json_extract(error, '$.code') AS code, json_extract(error, '$.origin') AS origin, count(*) AS n FROM (
  SELECT tool, error, begun_at AS at FROM call WHERE error IS NOT NULL
  UNION ALL
  SELECT tool, error, received_at FROM receipt WHERE disposition IN ('conflict', 'denied', 'invalid')
) WHERE at >= :since AND (:tool IS NULL OR tool = :tool) GROUP BY 1, 2 ORDER BY n DESC, 1, 2;

-- name: recent_failures
-- The newest failures and refusals.
SELECT at, tool, call_id, key, kind, error FROM (
  SELECT begun_at AS at, tool, call_id, key, state AS kind, error FROM call WHERE error IS NOT NULL
  UNION ALL
  SELECT received_at, tool, NULL, key, disposition, error FROM receipt
  WHERE disposition IN ('conflict', 'denied', 'invalid')
) WHERE at >= :since AND (:tool IS NULL OR tool = :tool) ORDER BY at DESC LIMIT :limit;
