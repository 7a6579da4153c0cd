-- An operation of a service over all stored time. Milliseconds.
SELECT
  service_name,
  span_name,
  span_kind,
  operation,
  first_seen,
  last_seen,
  span_count,
  error_count,
  histogram_quantile(duration, 0.5) / 1e6 AS p50_ms,
  histogram_quantile(duration, 0.9) / 1e6 AS p90_ms,
  histogram_quantile(duration, 0.99) / 1e6 AS p99_ms,
  CAST(duration['sum'] AS DOUBLE) / duration['count'] / 1e6 AS mean_ms
FROM (
  SELECT
    service_name,
    span_name,
    span_kind,
    operation,
    to_timestamp_micros(min(first_unix_nano) / 1000) AT TIME ZONE 'UTC' AS first_seen,
    to_timestamp_micros(max(last_unix_nano) / 1000) AT TIME ZONE 'UTC' AS last_seen,
    sum(span_count) AS span_count,
    sum(error_count) AS error_count,
    hist_merge(duration) AS duration
  FROM operation_minutes
  GROUP BY service_name, span_name, span_kind, operation
)
