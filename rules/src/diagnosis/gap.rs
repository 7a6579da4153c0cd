//! The gap between a client's span and its server's: time that the callee does not know of, spent
//! on the network, waiting, or in the caller itself before it sends and after it receives.

use super::breadth::Breadth;
use super::inquiry::Inquiry;
use super::signal::Signal;
use crate::error::RulesError;
use crate::figures;
use crate::time::Periods;

/// A gap that grew by less is not worth a sentence.
const DELTA_MS_MIN: f64 = 1.0;

/// What the gap of a call says about the callee.
#[derive(Clone, Debug)]
pub(crate) struct Gap {
    pub(crate) callee: String,
    /// Share of the call's added time that the callee knows nothing of.
    pub(crate) share: f64,
}

/// Measures the gap of every slower call whose callee sends spans.
pub(crate) async fn compute(
    inquiry: &mut Inquiry<'_>,
    breadth: &Breadth,
    periods: &Periods,
) -> Result<Vec<Gap>, RulesError> {
    let mut gaps = Vec::new();
    for factor in breadth.parts.iter().filter(|factor| factor.is_slower) {
        let part = &factor.part;
        if part.operation.span_kind != "CLIENT" {
            continue;
        }
        let subject = super::symptom::subject(&part.operation);
        let Some(callee) = &part.callee else {
            inquiry.not_measured(
                format!("whether {subject} is slow itself or its callee is"),
                "the callee sends no spans, or calls reach several operations",
            );
            continue;
        };
        let signal = Signal::MeanDuration { operation: part.operation.clone() };
        let call = inquiry.read(signal, periods).await?.figures;
        let signal = Signal::CallGap { client: part.operation.clone(), server: callee.clone() };
        let reading = inquiry.read(signal, periods).await?;
        let figures = reading.figures;
        let (Some((now, before)), Some(delta), Some(whole)) =
            (figures.pair(), figures.difference(), call.difference())
        else {
            continue;
        };
        if delta < DELTA_MS_MIN {
            continue;
        }
        let share = (delta / whole.max(f64::MIN_POSITIVE)).clamp(0.0, 1.0);
        let statement = format!(
            "{} of the added {} of {subject} lie outside of {}: the gap between the client's span and the server's went from {} to {}",
            figures::percent(100.0 * share),
            figures::milliseconds(whole),
            callee.service,
            figures::milliseconds(before),
            figures::milliseconds(now)
        );
        inquiry.note("call_gap", &subject, reading, statement);
        gaps.push(Gap { callee: callee.service.clone(), share });
    }
    Ok(gaps)
}
