-- name: find_receipt
-- One request received.
SELECT * FROM receipt WHERE receipt_id = :receipt_id;

-- name: receipts_of
-- All requests for a call, oldest first.
SELECT * FROM receipt WHERE call_id = :call_id ORDER BY received_at, receipt_id;

-- name: attempts_of
-- All attempts of a call.
SELECT * FROM attempt WHERE call_id = :call_id ORDER BY number;

-- name: events_of
-- What was written about a call, the requests for it and its jobs, oldest first. Looks at every event.
SELECT * FROM event e WHERE e.rows LIKE '%' || :call_id || '%' OR EXISTS
  (SELECT 1 FROM receipt r WHERE r.call_id = :call_id AND e.rows LIKE '%' || r.receipt_id || '%') OR EXISTS
  (SELECT 1 FROM job j WHERE j.call_id = :call_id AND e.rows LIKE '%job/' || j.job_id || '%')
ORDER BY e.id;

-- name: jobs_of
-- The jobs that a call left behind.
SELECT * FROM job WHERE call_id = :call_id ORDER BY begun_at, job_id;

-- name: find_job
-- One job.
SELECT * FROM job WHERE job_id = :job_id;

-- name: calls_in_doubt
-- Calls of which nobody knows what became of them, newest first.
SELECT * FROM call WHERE state = 'in_doubt' ORDER BY begun_at DESC, call_id LIMIT :limit;

-- name: count_in_doubt
-- How many there are.
SELECT count(*) AS n FROM call WHERE state = 'in_doubt';

-- name: oldest_call
-- When the oldest call that is kept began.
SELECT min(begun_at) AS at, count(*) AS n FROM call;

-- name: calls_since
-- Calls that began since a time, oldest first.
SELECT * FROM call WHERE begun_at >= :since ORDER BY begun_at, call_id;

-- name: attempts_since
-- Attempts that began since a time, oldest first.
SELECT * FROM attempt WHERE begun_at >= :since ORDER BY begun_at, call_id, number;

-- name: receipts_since
-- Requests received since a time, oldest first.
SELECT * FROM receipt WHERE received_at >= :since ORDER BY received_at, receipt_id;

-- name: jobs_since
-- Jobs that began since a time, oldest first.
SELECT * FROM job WHERE begun_at >= :since ORDER BY begun_at, job_id;

-- name: events_since
-- What was written since a time, in that order.
SELECT * FROM event WHERE at >= :since ORDER BY id;
