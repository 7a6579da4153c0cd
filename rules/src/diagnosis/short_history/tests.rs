//! Which operation is the symptom, by what is shown to have been added to it.

use super::slower_through;
use crate::diagnosis::attribution::attribute;
use crate::diagnosis::attribution::tests::{Extra, sample, sample_of};
use crate::diagnosis::symptom::Scope;

/// Services whose operations are slower through the stock, where it takes so many milliseconds longer, and one
/// request in two to the shop takes longer by itself.
fn slower(stock_ms: i64, shop_ms: i64) -> Vec<String> {
    let now = sample_of(|number| {
        let shop_own = if number % 2 == 0 { shop_ms } else { 0 };
        Extra { stock_own: stock_ms, shop_own, ..Extra::default() }
    });
    let before = sample(Extra::default(), 1);
    let mut attribution = attribute(&now, &before);
    // As if chance alone had made some of the shop's requests slower.
    let stock = attribute(&sample(Extra { stock_own: stock_ms, ..Extra::default() }, 1), &before);
    attribution.by_trace = stock.by_trace;
    let slower = slower_through("stock", (&now, &before), &Scope::Everything, &attribution);
    slower.into_iter().map(|operation| operation.service).collect()
}

#[test]
fn requests_that_chance_made_slower_are_not_the_symptom_of_little() {
    assert_eq!(slower(50, 0), ["shop", "stock"]);
    assert_eq!(slower(50, 40), ["shop", "stock"]);
    // The shop's mean of 80 ms is a third longer, six of the milliseconds are the stock's.
    assert_eq!(slower(6, 40), ["stock"]);
    assert!(slower(4, 40).is_empty());
}
