-- A service in an environment. `service_version` is the one seen last.
SELECT
  service_name,
  deployment_environment_name,
  last_value(service_version ORDER BY time, last_unix_nano, service_version)
    FILTER (WHERE service_version IS NOT NULL) AS service_version,
  to_timestamp_micros(min(first_unix_nano) / 1000) AT TIME ZONE 'UTC' AS first_seen,
  to_timestamp_micros(max(last_unix_nano) / 1000) AT TIME ZONE 'UTC' AS last_seen,
  count(DISTINCT span_name) AS operation_count,
  sum(span_count) AS span_count,
  sum(error_count) AS error_count
FROM operation_minutes
GROUP BY service_name, deployment_environment_name
