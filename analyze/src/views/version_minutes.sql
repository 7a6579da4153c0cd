-- The requests that each version of a service served in a minute, and its share of them: a canary grows,
-- a rollout that is done leaves one version. Requests are spans of the serving side, each counted as
-- often as it was sampled from.
SELECT
  service_name,
  deployment_environment_name,
  time,
  service_version,
  sum(adjusted_count_micros) / 1e6 AS request_count,
  sum(adjusted_count_micros) / sum(sum(adjusted_count_micros) * 1.0) OVER (
    PARTITION BY service_name, deployment_environment_name, time
  ) AS share
FROM operation_minutes
WHERE span_kind IN ('SERVER', 'CONSUMER')
GROUP BY service_name, deployment_environment_name, time, service_version
