-- One observed body, as one side of the call reported it: what spans say, and the rows of builds that
-- stored them apart.
WITH calls AS (
  SELECT
    *,
    CASE WHEN span_kind IN ('CLIENT', 'PRODUCER') THEN service_name ELSE parent_service END
      AS client_service,
    CASE WHEN span_kind IN ('CLIENT', 'PRODUCER')
      THEN coalesce(callee_service, peer_service, server_address) ELSE service_name END
      AS server_service,
    coalesce(callee_operation, operation) AS edge_operation,
    CASE WHEN span_kind IN ('CLIENT', 'PRODUCER') THEN 'client' ELSE 'server' END AS reporter
  FROM spans
)
SELECT
  time,
  start_unix_nano AS time_unix_nano,
  client_service,
  server_service,
  edge_operation AS operation,
  'request' AS direction,
  reporter,
  request_wire_bytes AS wire_bytes,
  request_uncompressed_bytes AS uncompressed_bytes,
  request_size_attribute AS source_attribute,
  duration_ns,
  service_version,
  deployment_environment_name,
  span_id,
  trace_id,
  date
FROM calls
WHERE request_size_attribute IS NOT NULL
UNION ALL
SELECT
  time,
  start_unix_nano,
  client_service,
  server_service,
  edge_operation,
  'response',
  reporter,
  response_wire_bytes,
  response_uncompressed_bytes,
  response_size_attribute,
  duration_ns,
  service_version,
  deployment_environment_name,
  span_id,
  trace_id,
  date
FROM calls
WHERE response_size_attribute IS NOT NULL
UNION ALL
SELECT
  time,
  time_unix_nano,
  client_service,
  server_service,
  operation,
  direction,
  reporter,
  wire_bytes,
  uncompressed_bytes,
  source_attribute,
  CAST(NULL AS BIGINT),
  service_version,
  deployment_environment_name,
  span_id,
  trace_id,
  date
FROM former_payload_sizes
