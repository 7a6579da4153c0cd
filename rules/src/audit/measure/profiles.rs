//! Processor time and garbage collection, from profiles.

use super::{Judged, Measuring, Of, RATIO_MIN, What, latency_words};
use crate::audit::judge::{COUNT_MIN, Verdict, samples_z};
use crate::audit::{queries, series};
use crate::diagnosis::profile::{GARBAGE, sample_type};
use crate::diagnosis::signal::{ProfileOf, Signal};
use crate::error::RulesError;
use crate::figures;
use crate::time::Periods;

/// A share of garbage collection is worth a word by so many points, as for families of frames.
const GARBAGE_POINTS: f64 = 1.0;
/// Samples of a profile on each side, below which it says little.
const SAMPLES_MIN: i64 = 100;

impl Measuring<'_, '_> {
    /// Measures both.
    pub(super) async fn of_profiles(&mut self, service: &str) -> Result<(), RulesError> {
        let Some(profile) = sample_type(self.inquiry, service, &self.periods).await? else {
            self.inquiry.not_measured(
                format!("processor time and garbage collection of {service}"),
                "there are no processor profiles of it in both windows: send pprof to /ingest",
            );
            return Ok(());
        };
        self.garbage(&profile).await?;
        self.cpu(&profile).await
    }

    async fn garbage(&mut self, profile: &ProfileOf) -> Result<(), RulesError> {
        let families = GARBAGE.iter().map(|name| (*name).to_owned()).collect();
        let signal = Signal::FamilyShare { profile: profile.clone(), families };
        // Both sides need samples; the query counts the later ones only.
        let swapped =
            Periods { now: self.periods.before, before: self.periods.now, ..self.periods };
        let earlier = self.inquiry.read(signal.clone(), &swapped).await?.figures.n;
        let reading = self.inquiry.read(signal, &self.periods).await?;
        let later = reading.figures.n;
        let Some((now, before)) = reading.figures.pair() else { return Ok(()) };
        let service = &profile.service;
        if earlier.min(later) < SAMPLES_MIN {
            self.inquiry.not_measured(
                format!("garbage collection of {service}"),
                format!("fewer than {SAMPLES_MIN} samples in one of the windows"),
            );
            return Ok(());
        }
        let subject = format!("garbage collection of {service}");
        let statement = format!(
            "garbage collection and allocation went from {} to {} of the processor samples of {service}",
            figures::percent(before),
            figures::percent(now)
        );
        let z = samples_z((now, later), (before, earlier));
        let verdict = Verdict { z, placebos: 0, since: None, n: (earlier, later) };
        let larger = now - before >= GARBAGE_POINTS && now >= 1.3 * before;
        let of = Of { role: self.role_of(service), service, what: What::Garbage, edge: None };
        let judged = Judged { needed: SAMPLES_MIN, ..Judged::of(verdict, larger) };
        self.push(of, (subject, reading, statement), judged);
        Ok(())
    }

    async fn cpu(&mut self, profile: &ProfileOf) -> Result<(), RulesError> {
        let service = &profile.service;
        // Samples that count and do not measure time have no processor time.
        if profile.sample_type != "cpu" {
            return Ok(());
        }
        let minutes =
            series::cpu(self.inquiry, (service, &profile.sample_type), self.windows).await?;
        let verdict = minutes.more(self.windows);
        let sql = queries::cpu_per_request(profile, &self.periods);
        let reading = self.inquiry.read_sql(sql, "ms").await?;
        if reading.figures.pair().is_none() || verdict.n.0.min(verdict.n.1) < COUNT_MIN {
            return Ok(());
        }
        let subject = format!("processor time of {service} for each request");
        let statement = latency_words(&subject, &reading);
        let larger = reading.figures.ratio().is_some_and(|ratio| ratio >= RATIO_MIN);
        let of = Of { role: self.role_of(service), service, what: What::Cpu, edge: None };
        self.push(of, (subject, reading, statement), Judged::of(verdict, larger));
        Ok(())
    }
}
