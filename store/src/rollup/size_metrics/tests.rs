use super::series::{Series, SeriesPoint};
use super::*;
use crate::histogram::{Buckets, HistogramColumn, Received};
use crate::testing::{SizePoint, size_points};
use crate::time::{NANOS_PER_MINUTE, NANOS_PER_SECOND};
use crate::trace_index::integers;

#[test]
fn names_tell_side_direction_and_measure() {
    let known = |name: &str| {
        SizeMetric::of(name).map(|metric| {
            let column = ["request wire", "response wire", "request raw", "response raw"];
            (metric.side, column[metric.column()], metric.is_older)
        })
    };
    for (name, expected) in [
        ("http.server.request.body.size", Some((Side::Server, "request wire", false))),
        ("http.client.response.body.size", Some((Side::Client, "response wire", false))),
        ("http.server.response.size", Some((Side::Server, "response wire", true))),
        ("http.client.request.size", Some((Side::Client, "request wire", true))),
        ("rpc.server.request.size", Some((Side::Server, "request raw", false))),
        ("rpc.client.response.size", Some((Side::Client, "response raw", false))),
        ("rpc.client.response.body.size", None),
        ("http.server.request.duration", None),
        ("http.server.body.size", None),
        ("http.proxy.request.size", None),
        ("http", None),
        ("", None),
    ] {
        assert_eq!(known(name), expected, "{name}");
    }
}

/// A cumulative point of a series: start, time in seconds, number of values.
type At = (Option<i64>, i64, i64);

const SECOND: i64 = NANOS_PER_SECOND;

fn counts_of(series: &mut Series, points: &[(i64, At)]) -> Vec<Option<i64>> {
    let point = |count: i64| {
        let buckets = Buckets::Explicit { bounds: vec![10.0], counts: vec![count, 0] };
        Received::new((count, count as f64), (None, None), buckets).unwrap()
    };
    let interval = |(series_id, (start, time, count)): &(i64, At)| {
        let start = start.map(|start| UnixNanos(start * SECOND));
        let at = SeriesPoint { series_id: *series_id, start, time: UnixNanos(time * SECOND) };
        series.interval(at, point(*count)).map(|interval| interval.to_histogram().count)
    };
    points.iter().map(interval).collect()
}

#[test]
fn a_cumulative_point_adds_what_came_since_the_one_before() {
    // Everything received from second 100 on is shown.
    const OLD: Option<i64> = Some(50);
    const NEW: Option<i64> = Some(200);
    for (case, points, expected) in [
        (
            "known",
            &[(OLD, 210, 5), (OLD, 220, 8), (OLD, 230, 8)][..],
            &[None, Some(3), Some(0)][..],
        ),
        ("new", &[(NEW, 210, 5), (NEW, 220, 8)], &[Some(5), Some(3)]),
        (
            "without a start",
            &[(None, 210, 5), (None, 220, 8), (None, 230, 2), (None, 240, 3)],
            &[None, Some(3), None, Some(1)],
        ),
        (
            "late and repeated",
            &[(OLD, 220, 5), (OLD, 210, 4), (OLD, 220, 5), (OLD, 230, 9)],
            &[None, None, None, Some(4)],
        ),
        ("restarted", &[(OLD, 190, 5), (NEW, 210, 3), (NEW, 220, 4)], &[None, Some(3), Some(1)]),
        ("count went down", &[(OLD, 210, 5), (OLD, 220, 3), (OLD, 230, 4)], &[None, None, Some(1)]),
        // Two workers that say they are one sender.
        (
            "interleaved",
            &[(OLD, 210, 5), (NEW, 211, 3), (OLD, 220, 7), (NEW, 221, 4)],
            &[None, Some(3), Some(2), Some(1)],
        ),
        (
            "a gap of ten minutes and more",
            &[(OLD, 210, 5), (OLD, 811, 8), (OLD, 821, 9)],
            &[None, None, Some(1)],
        ),
        ("long since it started", &[(NEW, 801, 5), (NEW, 811, 6)], &[None, Some(1)]),
        ("a start that is no start", &[(NEW, 200, 5), (NEW, 210, 6)], &[None, Some(1)]),
        ("started as the clock was", &[(Some(101), 110, 5)], &[None]),
    ] as [(&str, &[At], &[Option<i64>]); 11]
    {
        let mut series = Series::default();
        series.watch_from(UnixNanos(100 * SECOND));
        series.watch_from(UnixNanos(900 * SECOND));
        let points: Vec<_> = points.iter().map(|point| (1, *point)).collect();
        assert_eq!(counts_of(&mut series, &points), expected, "{case}");
    }
}

#[test]
fn before_anything_is_watched_no_first_point_is_new() {
    let points = [(1, (Some(200), 210, 5)), (1, (Some(200), 220, 6))];
    assert_eq!(counts_of(&mut Series::default(), &points), [None, Some(1)]);
}

#[test]
fn a_forgotten_series_does_not_count_twice() {
    let mut series = Series::with_capacity(2);
    series.watch_from(UnixNanos(100 * SECOND));
    let start = Some(200);
    let points = [
        (1, (start, 210, 5)),
        (2, (start, 211, 5)),
        // News of the first: the second is the oldest now, and goes for the third.
        (1, (start, 212, 6)),
        (3, (start, 213, 5)),
        (2, (start, 220, 9)),
        // Started after the forgotten point: certainly new.
        (4, (Some(230), 240, 7)),
    ];
    let expected = [Some(5), Some(5), Some(1), Some(5), None, Some(7)];
    assert_eq!(counts_of(&mut series, &points), expected);
}

/// Edges as `client > server operation reporter: sizes by column`.
fn edges(metrics: &mut SizeMetrics, points: &[SizePoint<'_>]) -> Vec<String> {
    let rows = size_points(points);
    assert!(has_sizes(&rows));
    let edges = metrics.edge_minutes(&[&rows]);
    let text = |name, row| texts(&edges, name).unwrap().value(row).to_owned();
    let line = |row| {
        assert_eq!(text("source", row), "metrics");
        assert_eq!(integers(&edges, "span_count").unwrap().value(row), 0);
        let mut line =
            format!("{} > {} ", text("client_service", row), text("server_service", row));
        line += &format!("{} {}:", text("operation", row), text("reporter", row));
        for name in
            ["request_wire", "response_wire", "request_uncompressed", "response_uncompressed"]
        {
            let column = edges.column_by_name(&format!("{name}_bytes")).unwrap();
            if let Some(sizes) = HistogramColumn::new(column).unwrap().get(row) {
                line += &format!(" {name} {}/{}", sizes.count, sizes.sum);
            }
        }
        line
    };
    (0..edges.num_rows()).map(line).collect()
}

#[test]
fn each_side_names_its_edge() {
    let of = |metric, attributes| SizePoint { metric, attributes, ..SizePoint::new(5) };
    for (point, expected) in [
        (SizePoint::new(5), Some(" > stock GET /sku server: response_wire 3/150")),
        (
            of(
                "http.client.request.body.size",
                &[
                    ("http.request.method", "GET"),
                    ("server.address", "prices.local"),
                    ("server.port", "80"),
                ],
            ),
            Some("stock > prices.local GET client: request_wire 3/150"),
        ),
        (
            of(
                "http.client.response.size",
                &[
                    ("http.method", "POST"),
                    ("net.peer.name", "prices"),
                    ("url.template", "/p/{id}"),
                ],
            ),
            Some("stock > prices POST /p/{id} client: response_wire 3/150"),
        ),
        (
            of(
                "rpc.server.request.size",
                &[("rpc.service", "shop.Stock"), ("rpc.method", "Get"), ("server.address", "own")],
            ),
            Some(" > stock shop.Stock/Get server: request_uncompressed 3/150"),
        ),
        (
            of("rpc.client.response.size", &[("rpc.method", "a.B/C"), ("peer.service", "b")]),
            Some("stock > b a.B/C client: response_uncompressed 3/150"),
        ),
        (
            of("http.server.response.body.size", &[("http.request.method", "_OTHER")]),
            Some(" > stock HTTP server: response_wire 3/150"),
        ),
        // A call to nobody known, and one without an operation.
        (of("http.client.request.body.size", &[("http.request.method", "GET")]), None),
        (of("http.server.response.body.size", &[("http.route", "/sku")]), None),
        (SizePoint { unit: "kBy", ..SizePoint::new(5) }, None),
        (SizePoint { temporality: "", ..SizePoint::new(5) }, None),
        (SizePoint { counts: [0, 0, 0], sum: 0.0, ..SizePoint::new(5) }, None),
    ] {
        let found = edges(&mut SizeMetrics::default(), &[point]);
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{point:?}");
    }
}

#[test]
fn delta_points_add_as_they_are_and_cumulative_ones_their_difference() {
    let mut metrics = SizeMetrics::default();
    metrics.watch_from(UnixNanos(0));
    let delta = SizePoint::new(5);
    assert_eq!(
        edges(&mut metrics, &[delta, delta]),
        [" > stock GET /sku server: response_wire 6/300"]
    );
    let cumulative = |time, counts, sum| SizePoint {
        temporality: "cumulative",
        start: -NANOS_PER_MINUTE,
        counts,
        sum,
        ..SizePoint::new(time)
    };
    assert_eq!(edges(&mut metrics, &[cumulative(10, [4, 0, 0], 200.0)]), Vec::<String>::new());
    // Two points of a series in one request, in either order.
    let later = [cumulative(20, [5, 0, 0], 250.0), cumulative(30, [5, 2, 0], 1_050.0)];
    assert_eq!(edges(&mut metrics, &later), [" > stock GET /sku server: response_wire 3/850"]);
}

#[test]
fn the_older_name_counts_where_the_sender_has_no_other() {
    let older = SizePoint { metric: "http.server.response.size", ..SizePoint::new(5) };
    let one = " > stock GET /sku server: response_wire 3/150";
    let mut metrics = SizeMetrics::default();
    assert_eq!(edges(&mut metrics, &[older]), [one]);
    // An SDK that sends both tells of the same calls twice, whichever comes first.
    assert_eq!(edges(&mut metrics, &[older, SizePoint::new(5)]), [one]);
    assert_eq!(edges(&mut SizeMetrics::default(), &[older, SizePoint::new(5)]), [one]);
    assert_eq!(edges(&mut metrics, &[older]), Vec::<String>::new());
    // Another instrumentation or service, or the other direction, is another sender.
    for other in [
        SizePoint { scope: "other", ..older },
        SizePoint { service: "shop", ..older },
        SizePoint { metric: "http.server.request.size", ..older },
    ] {
        assert_eq!(edges(&mut metrics, &[other]).len(), 1, "{other:?}");
    }
}

#[test]
fn rows_of_metrics_and_of_spans_stay_apart_when_merged() {
    let rows = size_points(&[SizePoint::new(5), SizePoint::new(NANOS_PER_MINUTE)]);
    let of_metrics = SizeMetrics::default().edge_minutes(&[&rows]);
    let span = crate::testing::Span {
        service: "stock",
        name: "GET /sku",
        kind: "SERVER",
        ..crate::testing::Span::new(1, 1, 5)
    };
    let of_spans = crate::rollup::edge_minutes(&[crate::testing::spans(&[span])], &[]);
    let table = crate::schema::Table::EdgeMinutes;
    let all = [of_metrics.clone(), of_spans, of_metrics];
    let all = arrow::compute::concat_batches(&table.schema(), &all).unwrap();
    let merged = crate::rollup::merge_partials(table, all);
    let sources: Vec<_> = texts(&merged, "source").unwrap().iter().flatten().collect();
    assert_eq!(sources, ["metrics", "spans", "metrics"]);
    let sizes =
        HistogramColumn::new(merged.column_by_name("response_wire_bytes").unwrap()).unwrap();
    let counts = [0, 1, 2].map(|row| sizes.get(row).map(|sizes| sizes.count));
    assert_eq!(counts, [Some(6), None, Some(6)]);
    // Files of before have no source.
    let column = merged.schema().index_of("source").unwrap();
    let mut columns = merged.columns().to_vec();
    columns[column] = arrow::array::new_null_array(columns[column].data_type(), 3);
    let older = RecordBatch::try_new(merged.schema(), columns).unwrap();
    let again = crate::rollup::merge_partials(table, older);
    assert!(texts(&again, "source").unwrap().iter().all(|source| source == Some("spans")));
}
