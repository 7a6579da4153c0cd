WITH minutes AS (
  SELECT
    *,
    coalesce(source, 'spans') AS measured_by,
    time >= $current_start AND time < $current_end AS is_now,
    time >= $baseline_start AND time < $baseline_end AS is_before
  FROM edge_minutes
  WHERE (time >= $current_start AND time < $current_end)
    OR (time >= $baseline_start AND time < $baseline_end)
),
merged AS (
  SELECT
    client_service,
    server_service,
    operation,
    reporter,
    measured_by,
    hist_merge(request_wire_bytes) FILTER (WHERE is_now) AS request_wire_now,
    hist_merge(request_wire_bytes) FILTER (WHERE is_before) AS request_wire_before,
    hist_merge(response_wire_bytes) FILTER (WHERE is_now) AS response_wire_now,
    hist_merge(response_wire_bytes) FILTER (WHERE is_before) AS response_wire_before,
    hist_merge(request_uncompressed_bytes) FILTER (WHERE is_now) AS request_uncompressed_now,
    hist_merge(request_uncompressed_bytes) FILTER (WHERE is_before) AS request_uncompressed_before,
    hist_merge(response_uncompressed_bytes) FILTER (WHERE is_now) AS response_uncompressed_now,
    hist_merge(response_uncompressed_bytes) FILTER (WHERE is_before) AS response_uncompressed_before
  FROM minutes
  GROUP BY client_service, server_service, operation, reporter, measured_by
),
measured AS (
  SELECT
    client_service,
    server_service,
    operation,
    direction,
    measure,
    reporter,
    measured_by,
    CASE direction || measure
      WHEN 'requestwire' THEN request_wire_now
      WHEN 'responsewire' THEN response_wire_now
      WHEN 'requestuncompressed' THEN request_uncompressed_now
      ELSE response_uncompressed_now
    END AS h_now,
    CASE direction || measure
      WHEN 'requestwire' THEN request_wire_before
      WHEN 'responsewire' THEN response_wire_before
      WHEN 'requestuncompressed' THEN request_uncompressed_before
      ELSE response_uncompressed_before
    END AS h_before
  FROM merged
  CROSS JOIN (
    VALUES ('request', 'wire'), ('response', 'wire'),
      ('request', 'uncompressed'), ('response', 'uncompressed')
  ) AS kinds (direction, measure)
),
ranked AS (
  SELECT
    *,
    row_number() OVER (
      PARTITION BY client_service, server_service, operation, direction, measure
      ORDER BY
        CASE measured_by WHEN 'spans' THEN 0 ELSE 1 END,
        CASE
          WHEN reporter = 'server' AND h_now IS NOT NULL THEN 0
          WHEN reporter = 'client' THEN 1
          ELSE 2
        END,
        reporter
    ) AS choice,
    max(CASE measured_by WHEN 'spans' THEN 1 ELSE 0 END) OVER (
      PARTITION BY server_service, operation, direction, measure
    ) AS spans_tell
  FROM measured
  WHERE h_now IS NOT NULL OR h_before IS NOT NULL
),
figures AS (
  SELECT
    *,
    histogram_quantile(h_now, 0.5) AS p50_now,
    histogram_quantile(h_before, 0.5) AS p50_before,
    histogram_quantile(h_now, 0.99) AS p99_now,
    histogram_quantile(h_before, 0.99) AS p99_before
  FROM ranked
  -- Metrics of a server do not know its callers: where spans do, they are the same calls.
  WHERE choice = 1 AND (measured_by = 'spans' OR client_service <> '' OR spans_tell = 0)
)
SELECT
  client_service,
  server_service,
  operation,
  direction,
  measure,
  reporter,
  coalesce(h_now['count'], 0) AS n_now,
  coalesce(h_before['count'], 0) AS n_before,
  p50_now,
  p50_before,
  p99_now,
  p99_before,
  CAST(h_now['sum'] AS DOUBLE) / h_now['count'] AS mean_now,
  CAST(h_before['sum'] AS DOUBLE) / h_before['count'] AS mean_before,
  p99_now / nullif(p99_before, 0) AS growth,
  p50_now / nullif(p50_before, 0) AS growth_p50,
  measured_by AS source
FROM figures
ORDER BY client_service, server_service, operation, direction, measure
