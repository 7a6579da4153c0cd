//! What is stored in a test: batches as requests bring them, with what the store derives.

use upriver_store::batch::TableBatch;
use upriver_store::rollup;
use upriver_store::schema::Table;
use upriver_store::trace_index::TraceIndex;

use crate::{profiles, shop, sizes, versions};

/// The fixture that a test file names.
pub(crate) fn named(name: &str) -> Vec<TableBatch> {
    match name {
        "empty" => Vec::new(),
        "shop" => shop::batches(),
        "versions" => versions::batches(),
        "profiles" => profiles::batches(),
        "sizes" => sizes::batches(),
        other => panic!("there is no fixture {other}"),
    }
}

/// Adds parents, self times and rollups, batch by batch as the store does at commit. A trace is
/// always within one batch here.
pub(crate) fn derived(batches: Vec<TableBatch>) -> Vec<TableBatch> {
    let mut index = TraceIndex::with_capacity(1 << 20);
    for batch in batches.iter().filter(|batch| batch.table == Table::Spans) {
        index.insert(&batch.rows);
    }
    let mut complete = Vec::new();
    for batch in batches {
        match batch.table {
            Table::Spans => {
                let spans = index.enrich_spans(&batch.rows);
                let operations = rollup::operation_minutes(std::slice::from_ref(&spans));
                let edges = rollup::edge_minutes(std::slice::from_ref(&spans), &[]);
                complete.push(TableBatch::new(Table::OperationMinutes, operations));
                complete.push(TableBatch::new(Table::EdgeMinutes, edges));
                complete.push(TableBatch::new(Table::Spans, spans));
            }
            Table::FormerPayloadSizes => {
                let edges = rollup::edge_minutes(&[], std::slice::from_ref(&batch.rows));
                complete.push(TableBatch::new(Table::EdgeMinutes, edges));
                complete.push(batch);
            }
            Table::MetricHistograms => {
                let edges = rollup::SizeMetrics::default().edge_minutes(&[&batch.rows]);
                complete.push(TableBatch::new(Table::EdgeMinutes, edges));
                complete.push(batch);
            }
            _ => complete.push(batch),
        }
    }
    complete
}
