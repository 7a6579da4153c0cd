-- A change of a service: sent by somebody (`explicit`), or seen in `service.version` (`inferred`).
--
-- Events with the same id are one change: of each column the last received value that is there. An
-- end that came alone (it ends when it starts) completes the start of the same change that was sent
-- within the day before it. A deploy of a version that is older, in that environment, than the one it
-- replaces is a rollback.
--
-- Inferred is the first sight of a version, once however long versions run side by side, and the
-- return of a version that was gone for more than 3 minutes while another one took its place: that
-- one must be gone 15 to 30 minutes later, else the two run side by side. What a service's first
-- minute shows is where it starts, no change.
WITH merged AS (
  SELECT
    id,
    service_name,
    service_version,
    deployment_environment_name,
    kind,
    time,
    start_unix_nano,
    last_value(end_unix_nano ORDER BY received_unix_nano, end_unix_nano)
      FILTER (WHERE end_unix_nano IS NOT NULL) AS end_unix_nano,
    last_value(previous_version ORDER BY received_unix_nano, previous_version)
      FILTER (WHERE previous_version IS NOT NULL) AS previous_version,
    last_value("commit" ORDER BY received_unix_nano, "commit")
      FILTER (WHERE "commit" IS NOT NULL) AS "commit",
    last_value(url ORDER BY received_unix_nano, url) FILTER (WHERE url IS NOT NULL) AS url
  FROM deploys
  GROUP BY
    id, service_name, service_version, deployment_environment_name, kind, time, start_unix_nano
),
paired AS (
  SELECT
    *,
    service_version IS NOT NULL
      AND end_unix_nano = start_unix_nano
      AND lag(start_unix_nano) OVER change >= start_unix_nano - 86400000000000
      AND lag(end_unix_nano) OVER change IS NULL AS is_end,
    service_version IS NOT NULL
      AND end_unix_nano IS NULL
      AND lead(end_unix_nano) OVER change = lead(start_unix_nano) OVER change
      AND lead(start_unix_nano) OVER change <= start_unix_nano + 86400000000000 AS is_start,
    lead(end_unix_nano) OVER change AS later_end_unix_nano,
    lead(previous_version) OVER change AS later_previous_version,
    lead("commit") OVER change AS later_commit,
    lead(url) OVER change AS later_url
  FROM merged
  WINDOW change AS (
    PARTITION BY service_name, deployment_environment_name, service_version, kind
    ORDER BY start_unix_nano, id
  )
),
sent AS (
  SELECT
    id,
    service_name,
    service_version,
    CASE WHEN is_start THEN coalesce(previous_version, later_previous_version)
      ELSE previous_version END AS sent_previous_version,
    deployment_environment_name,
    kind,
    time,
    start_unix_nano,
    CASE WHEN is_start THEN later_end_unix_nano ELSE end_unix_nano END AS end_unix_nano,
    CASE WHEN is_start THEN coalesce("commit", later_commit) ELSE "commit" END AS "commit",
    CASE WHEN is_start THEN coalesce(url, later_url) ELSE url END AS url,
    lag(service_version) OVER (
      PARTITION BY service_name, deployment_environment_name, kind ORDER BY start_unix_nano, id
    ) AS revision_before
  FROM paired
  WHERE is_end IS NOT TRUE
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
    min(first_unix_nano) OVER (
      PARTITION BY service_name, deployment_environment_name, service_version
    ) AS since_unix_nano,
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
known AS (
  SELECT
    service_name, deployment_environment_name, service_version, first_unix_nano, since_unix_nano,
    true AS is_seen
  FROM turns
  UNION ALL
  SELECT
    service_name,
    deployment_environment_name,
    service_version,
    start_unix_nano AS first_unix_nano,
    min(start_unix_nano) OVER (
      PARTITION BY service_name, deployment_environment_name, service_version
    ) AS since_unix_nano,
    false AS is_seen
  FROM sent
  WHERE kind IN ('deploy', 'rollback') AND service_version IS NOT NULL
),
earlier AS (
  SELECT
    sent.id,
    min(known.since_unix_nano) FILTER (
      WHERE known.service_version = sent.service_version
    ) AS since_unix_nano,
    min(known.since_unix_nano) FILTER (
      WHERE known.service_version = sent.sent_previous_version
    ) AS sent_previous_since,
    last_value(
      known.service_version ORDER BY known.first_unix_nano, known.service_version
    ) FILTER (
      WHERE known.is_seen AND known.service_version IS DISTINCT FROM sent.service_version
    ) AS version_seen,
    last_value(
      known.since_unix_nano ORDER BY known.first_unix_nano, known.service_version
    ) FILTER (
      WHERE known.is_seen AND known.service_version IS DISTINCT FROM sent.service_version
    ) AS version_seen_since,
    last_value(
      known.service_version ORDER BY known.first_unix_nano, known.service_version
    ) FILTER (
      WHERE NOT known.is_seen AND known.service_version IS DISTINCT FROM sent.service_version
    ) AS version_sent,
    last_value(
      known.since_unix_nano ORDER BY known.first_unix_nano, known.service_version
    ) FILTER (
      WHERE NOT known.is_seen AND known.service_version IS DISTINCT FROM sent.service_version
    ) AS version_sent_since
  FROM sent
  JOIN known ON known.service_name = sent.service_name
    AND known.first_unix_nano < sent.start_unix_nano
    AND (
      sent.deployment_environment_name IS NULL
      OR known.deployment_environment_name IS NULL
      OR sent.deployment_environment_name = known.deployment_environment_name
    )
  WHERE sent.kind IN ('deploy', 'rollback')
  GROUP BY sent.id
)
SELECT
  sent.id,
  service_name,
  service_version,
  CASE
    WHEN sent_previous_version IS NOT NULL THEN sent_previous_version
    WHEN kind IN ('deploy', 'rollback') THEN coalesce(earlier.version_seen, earlier.version_sent)
    ELSE revision_before
  END AS previous_version,
  deployment_environment_name,
  CASE
    WHEN kind = 'deploy' AND earlier.since_unix_nano < CASE
      WHEN sent_previous_version IS NOT NULL THEN earlier.sent_previous_since
      WHEN earlier.version_seen IS NOT NULL THEN earlier.version_seen_since
      ELSE earlier.version_sent_since
    END THEN 'rollback'
    ELSE kind
  END AS kind,
  time,
  start_unix_nano,
  end_unix_nano,
  'explicit' AS source,
  "commit",
  url
FROM sent LEFT JOIN earlier ON earlier.id = sent.id
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
