//! A profile as rows.

use super::labels::SampleLabels;
use super::message::{Profile, Sample};
use super::origin::Logged;
use super::tables::Texts;
use crate::profiles::TooManyRows;
use crate::profiles::rows::{Facts, Measured, Rows, ValueName};

/// A profile and what is known of it.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) profile: &'a Profile,
    pub(super) texts: &'a Texts<'a>,
    pub(super) sample_types: &'a [ValueName<'a>],
    pub(super) logged: Logged,
}

impl Source<'_> {
    /// The one row of `profiles`.
    pub(super) fn append_profile(&self, rows: &mut Rows, dangling: u64) -> Result<(), TooManyRows> {
        let (period_type, period) = self.period();
        let facts = Facts {
            sample_types: self.sample_types,
            period_type,
            period,
            samples: self.profile.sample.len(),
            dangling,
        };
        rows.profile(&self.logged.origin, facts)
    }

    /// The profile's period; from the sender's sampling rate where the profile has none.
    fn period(&self) -> (Option<String>, i64) {
        const CPU: &str = "cpu/nanoseconds";
        let own = self.profile.period_type.map(|kind| {
            let (name, unit) = (self.texts.or_empty(kind.r#type), self.texts.or_empty(kind.unit));
            ValueName { name, unit }.with_unit()
        });
        let of_time = own.as_deref().is_none_or(|own| own == CPU);
        if self.profile.period == 0 && self.logged.sample_period_ns > 0 && of_time {
            return (Some(CPU.to_owned()), self.logged.sample_period_ns);
        }
        (own, self.profile.period)
    }

    /// The rows of a sample: one for each value that is not zero. `stack` is the position of its
    /// stack and the stack's id.
    pub(super) fn append_sample(
        &self,
        sample: &Sample,
        (stack, stack_id): (usize, i64),
        rows: &mut Rows,
    ) -> Result<(), TooManyRows> {
        let labels = SampleLabels::new(&sample.label, self.texts);
        for (sample_type, value) in self.sample_types.iter().zip(&sample.value) {
            let measured = Measured {
                what: *sample_type,
                value: *value,
                time: labels.time.unwrap_or(self.logged.origin.start),
                stack,
                stack_id,
                span_id: labels.span_id,
                trace_id: labels.trace_id,
                labels: &labels.labels,
            };
            rows.sample(&self.logged.origin, &measured)?;
        }
        Ok(())
    }
}
