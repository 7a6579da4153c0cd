-- A change of a service: sent by somebody (`explicit`), or seen in `service.version` (`inferred`).
--
-- Inferred is the first sight of a version, once however long versions run side by side, and the
-- return of a version that was gone for more than 3 minutes while another one took its place: that
-- one must be gone 15 to 30 minutes later, else the two run side by side. What a service's first
-- minute shows is where it starts, no change.
WITH latest AS (
  SELECT
    *,
    row_number() OVER (
      PARTITION BY id
      ORDER BY received_unix_nano DESC, end_unix_nano DESC NULLS LAST, time DESC, kind,
        previous_version, "commit", url
    ) AS age
  FROM deploys
),
sent AS (
  SELECT
    id,
    service_name,
    service_version,
    previous_version AS sent_previous_version,
    deployment_environment_name,
    kind,
    time,
    start_unix_nano,
    end_unix_nano,
    "commit",
    url,
    lag(service_version) OVER (
      PARTITION BY service_name, deployment_environment_name,
        CASE WHEN kind = 'rollback' THEN 'deploy' ELSE kind END
      ORDER BY start_unix_nano, id
    ) AS version_sent_before
  FROM latest
  WHERE age = 1
),
sightings AS (
  SELECT
    service_name,
    deployment_environment_name,
    service_version,
    time AS minute,
    min(first_unix_nano) AS first_unix_nano
  FROM operation_minutes
  WHERE service_version IS NOT NULL
  GROUP BY service_name, deployment_environment_name, service_version, time
),
of_version AS (
  SELECT
    *,
    lag(minute) OVER version AS minute_before,
    min(minute) OVER (
      PARTITION BY service_name, deployment_environment_name, service_version
    ) AS version_since,
    count(*) OVER (
      PARTITION BY service_name, deployment_environment_name, service_version
      ORDER BY minute
      RANGE BETWEEN INTERVAL '15 minutes' FOLLOWING AND INTERVAL '30 minutes' FOLLOWING
    ) AS sightings_later
  FROM sightings
  WINDOW version AS (
    PARTITION BY service_name, deployment_environment_name, service_version ORDER BY minute
  )
),
in_order AS (
  SELECT
    *,
    lag(service_version) OVER service AS version_before,
    lag(version_since) OVER service AS version_before_since,
    lag(sightings_later) OVER service AS version_before_later,
    min(minute) OVER (PARTITION BY service_name, deployment_environment_name) AS service_since
  FROM of_version
  WINDOW service AS (
    PARTITION BY service_name, deployment_environment_name
    ORDER BY minute, first_unix_nano, service_version
  )
),
turns AS (
  SELECT * FROM in_order WHERE version_before IS NULL OR version_before <> service_version
),
switches AS (
  SELECT
    service_name,
    service_version,
    version_before,
    deployment_environment_name,
    CASE
      WHEN minute_before IS NOT NULL AND version_since < version_before_since THEN 'rollback'
      ELSE 'deploy'
    END AS kind,
    first_unix_nano
  FROM turns
  WHERE version_before IS NOT NULL
    AND minute > service_since
    AND (
      minute_before IS NULL
      OR (minute - minute_before > INTERVAL '3 minutes' AND version_before_later = 0)
    )
),
inferred AS (
  SELECT * FROM switches
  WHERE NOT EXISTS (
    SELECT 1 FROM sent
    WHERE sent.service_name = switches.service_name
      AND sent.service_version = switches.service_version
      AND (
        sent.deployment_environment_name IS NULL
        OR switches.deployment_environment_name IS NULL
        OR sent.deployment_environment_name = switches.deployment_environment_name
      )
      AND switches.first_unix_nano >= sent.start_unix_nano - 1800000000000
      AND switches.first_unix_nano
        <= coalesce(sent.end_unix_nano, sent.start_unix_nano) + 1800000000000
  )
),
seen_before AS (
  SELECT
    sent.id,
    last_value(turns.service_version ORDER BY turns.first_unix_nano, turns.service_version) AS version
  FROM sent
  JOIN turns ON turns.service_name = sent.service_name
    AND turns.service_version <> sent.service_version
    AND turns.first_unix_nano < sent.start_unix_nano
    AND (
      sent.deployment_environment_name IS NULL
      OR turns.deployment_environment_name IS NULL
      OR sent.deployment_environment_name = turns.deployment_environment_name
    )
  WHERE sent.kind IN ('deploy', 'rollback')
  GROUP BY sent.id
)
SELECT
  sent.id,
  service_name,
  service_version,
  coalesce(sent_previous_version, seen_before.version, version_sent_before) AS previous_version,
  deployment_environment_name,
  kind,
  time,
  start_unix_nano,
  end_unix_nano,
  'explicit' AS source,
  "commit",
  url
FROM sent LEFT JOIN seen_before ON seen_before.id = sent.id
UNION ALL
SELECT
  deploy_id(
    service_name, coalesce(deployment_environment_name, ''), kind, service_version, first_unix_nano
  ) AS id,
  service_name,
  service_version,
  version_before AS previous_version,
  deployment_environment_name,
  kind,
  to_timestamp_micros(first_unix_nano / 1000) AT TIME ZONE 'UTC' AS time,
  first_unix_nano AS start_unix_nano,
  CAST(NULL AS BIGINT) AS end_unix_nano,
  'inferred' AS source,
  NULL AS "commit",
  NULL AS url
FROM inferred
