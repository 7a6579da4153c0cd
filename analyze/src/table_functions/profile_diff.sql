-- Samples of both windows, one row per profile and stack.
WITH measured AS (
  SELECT
    profile_id,
    stack_id,
    time >= $current_start AND time < $current_end AS is_now,
    time >= $baseline_start AND time < $baseline_end AS is_before,
    sum(value) FILTER (WHERE sample_type = 'cpu' AND unit = 'nanoseconds') AS cpu,
    sum(value) FILTER (WHERE sample_type = 'samples') AS hits,
    count(*) AS sample_rows
  FROM profile_samples
  WHERE service_name = $service
    AND ((time >= $current_start AND time < $current_end)
      OR (time >= $baseline_start AND time < $baseline_end))
    AND (sample_type = 'samples' OR (sample_type = 'cpu' AND unit = 'nanoseconds'))
  GROUP BY profile_id, stack_id, is_now, is_before
),
-- How long one hit of the profiler stands for, where the profile says so.
periods AS (
  SELECT profile_id, max(period) AS period
  FROM profiles
  WHERE service_name = $service AND period_type = 'cpu/nanoseconds' AND period > 0
  GROUP BY profile_id
),
stacks AS (
  SELECT
    stack_id,
    coalesce(sum(hits) FILTER (WHERE is_now), 0) AS samples_now,
    coalesce(sum(hits) FILTER (WHERE is_before), 0) AS samples_before,
    coalesce(sum(worth) FILTER (WHERE is_now), 0) AS value_now,
    coalesce(sum(worth) FILTER (WHERE is_before), 0) AS value_before
  FROM (
    SELECT
      stack_id,
      is_now,
      is_before,
      coalesce(cpu, hits * coalesce(period, 1)) AS worth,
      coalesce(hits, greatest(cpu / period, 1), sample_rows) AS hits
    FROM measured LEFT JOIN periods ON periods.profile_id = measured.profile_id
  )
  GROUP BY stack_id
),
weighed AS (
  SELECT
    *,
    sum(samples_now) OVER () AS total_now,
    sum(samples_before) OVER () AS total_before,
    sum(value_now) OVER () AS value_total_now,
    sum(value_before) OVER () AS value_total_before
  FROM stacks
),
-- Stacks are written again on each day on which they are seen; a day's margin covers profiles that
-- run past midnight. A stack is never written later than its first sample.
frames AS (
  SELECT DISTINCT stack_id, function, family
  FROM profile_stack_frames
  WHERE (time >= $current_start - INTERVAL '1 day' AND time < $current_end)
    OR (time >= $baseline_start - INTERVAL '1 day' AND time < $baseline_end)
),
names AS (
  SELECT DISTINCT stack_id, kind, name
  FROM (
    SELECT stack_id, 'function' AS kind, function AS name FROM frames
    UNION ALL
    SELECT stack_id, 'family' AS kind, family AS name FROM frames WHERE family IS NOT NULL
    UNION ALL
    SELECT stack_id, 'families' AS kind, 'allocation+gc' AS name FROM frames
    WHERE family IN ('allocation', 'gc')
    UNION ALL
    SELECT stack_id, 'families' AS kind, 'allocation+gc+serialization' AS name FROM frames
    WHERE family IN ('allocation', 'gc', 'serialization')
  )
),
shares AS (
  SELECT
    kind,
    name,
    sum(samples_now) AS samples_now,
    max(total_now) AS total_now,
    sum(samples_before) AS samples_before,
    max(total_before) AS total_before,
    sum(value_now) AS value_now,
    max(value_total_now) AS value_total_now,
    sum(value_before) AS value_before,
    max(value_total_before) AS value_total_before
  FROM weighed JOIN names ON names.stack_id = weighed.stack_id
  GROUP BY kind, name
)
SELECT
  *,
  CAST(value_now AS DOUBLE) / nullif(value_total_now, 0) AS share_now,
  CAST(value_before AS DOUBLE) / nullif(value_total_before, 0) AS share_before
FROM shares
ORDER BY kind, name
