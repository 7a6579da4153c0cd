WITH minutes AS (
  SELECT
    *,
    time >= $current_start AND time < $current_end AS is_now,
    time >= $baseline_start AND time < $baseline_end AS is_before
  FROM operation_minutes
  WHERE (time >= $current_start AND time < $current_end)
    OR (time >= $baseline_start AND time < $baseline_end)
),
merged AS (
  SELECT
    service_name,
    span_name,
    span_kind,
    operation,
    coalesce(sum(span_count) FILTER (WHERE is_now), 0) AS n_now,
    coalesce(sum(span_count) FILTER (WHERE is_before), 0) AS n_before,
    coalesce(sum(error_count) FILTER (WHERE is_now), 0) AS errors_now,
    coalesce(sum(error_count) FILTER (WHERE is_before), 0) AS errors_before,
    hist_merge(duration) FILTER (WHERE is_now) AS duration_now,
    hist_merge(duration) FILTER (WHERE is_before) AS duration_before,
    hist_merge(self_time) FILTER (WHERE is_now) AS self_now,
    hist_merge(self_time) FILTER (WHERE is_before) AS self_before
  FROM minutes
  GROUP BY service_name, span_name, span_kind, operation
),
figures AS (
  SELECT
    *,
    histogram_quantile(duration_now, 0.5) / 1e6 AS p50_now,
    histogram_quantile(duration_before, 0.5) / 1e6 AS p50_before,
    histogram_quantile(duration_now, 0.9) / 1e6 AS p90_now,
    histogram_quantile(duration_before, 0.9) / 1e6 AS p90_before,
    histogram_quantile(duration_now, 0.99) / 1e6 AS p99_now,
    histogram_quantile(duration_before, 0.99) / 1e6 AS p99_before
  FROM merged
)
SELECT
  service_name,
  span_name,
  span_kind,
  operation,
  n_now,
  n_before,
  errors_now,
  errors_before,
  p50_now,
  p50_before,
  p90_now,
  p90_before,
  p99_now,
  p99_before,
  CAST(duration_now['sum'] AS DOUBLE) / duration_now['count'] / 1e6 AS mean_now,
  CAST(duration_before['sum'] AS DOUBLE) / duration_before['count'] / 1e6 AS mean_before,
  CAST(self_now['sum'] AS DOUBLE) / self_now['count'] / 1e6 AS self_mean_now,
  CAST(self_before['sum'] AS DOUBLE) / self_before['count'] / 1e6 AS self_mean_before,
  p50_now / nullif(p50_before, 0) AS ratio_p50,
  p99_now / nullif(p99_before, 0) AS ratio_p99
FROM figures
ORDER BY service_name, span_name, span_kind, operation
