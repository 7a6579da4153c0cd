-- The calls of one service to another over all stored time, as the spans of the server reported them
-- where it did, else as those of the client did. `client_service` is empty where the caller is not known.
WITH reported AS (
  SELECT
    client_service,
    server_service,
    operation,
    reporter,
    min(time) AS first_seen,
    max(time) AS last_seen,
    sum(span_count) AS call_count,
    sum(error_count) AS error_count,
    hist_merge(duration) AS duration,
    hist_merge(request_wire_bytes) AS request_bytes,
    hist_merge(response_wire_bytes) AS response_bytes
  FROM edge_minutes
  WHERE (source IS DISTINCT FROM 'metrics')
  GROUP BY client_service, server_service, operation, reporter
),
ranked AS (
  SELECT
    *,
    row_number() OVER (
      PARTITION BY client_service, server_service, operation
      ORDER BY CASE reporter WHEN 'server' THEN 0 ELSE 1 END, reporter
    ) AS choice
  FROM reported
)
SELECT
  client_service,
  server_service,
  operation,
  reporter,
  first_seen,
  last_seen,
  call_count,
  error_count,
  histogram_quantile(duration, 0.5) / 1e6 AS p50_ms,
  histogram_quantile(duration, 0.99) / 1e6 AS p99_ms,
  histogram_quantile(request_bytes, 0.5) AS request_p50_bytes,
  histogram_quantile(response_bytes, 0.5) AS response_p50_bytes,
  histogram_quantile(response_bytes, 0.99) AS response_p99_bytes
FROM ranked
WHERE choice = 1
