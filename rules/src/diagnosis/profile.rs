//! Where the processor's time went, now and before: families of frames and functions, as unions over
//! stacks, so that a stack with two frames of a family counts once.

use std::collections::BTreeMap;

use super::inquiry::{Figures, Inquiry};
use super::signal::{ProfileOf, Signal, frame_days, samples_cte};
use crate::error::RulesError;
use crate::figures;
use crate::statistics::share_z;
use crate::time::Periods;

/// A share has risen if by at least one point,
const POINTS_MIN: f64 = 1.0;
/// this factor,
const FACTOR_MIN: f64 = 1.3;
/// and this many standard errors: about one false alarm in several hundred functions.
const Z_MIN: f64 = 4.0;
/// Samples below which a profile says little.
const SAMPLES_MIN: i64 = 100;
/// Functions whose rise differs by less than this many points have the same stacks.
const SAME_POINTS: f64 = 0.5;
/// The collector and the allocator are one cost of allocating.
pub(crate) const GARBAGE: [&str; 2] = ["gc", "allocation"];

/// A risen share.
#[derive(Clone, Debug)]
pub(crate) struct Risen {
    pub(crate) families: Vec<String>,
    pub(crate) figures: Figures,
    pub(crate) finding: String,
}

/// What the profiles of a service say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Profiles {
    /// Risen families, garbage collection and allocation taken together.
    pub(crate) risen: Vec<Risen>,
    /// All risen families in one union.
    pub(crate) combined: Option<Risen>,
    pub(crate) findings: Vec<String>,
}

/// Compares the profiles of a service.
pub(crate) async fn compute(
    inquiry: &mut Inquiry<'_>,
    service: &str,
    periods: &Periods,
) -> Result<Profiles, RulesError> {
    let Some(profile) = sample_type(inquiry, service, periods).await? else {
        inquiry.not_measured(
            format!("where {service} spends processor time"),
            "there are no processor profiles of it in both windows: send pprof to /ingest",
        );
        return Ok(Profiles::default());
    };
    let Some((families, totals)) = shares(inquiry, &profile, "family", periods).await? else {
        inquiry.not_measured(
            format!("where {service} spends processor time"),
            format!("fewer than {SAMPLES_MIN} samples in one of the windows"),
        );
        return Ok(Profiles::default());
    };
    let mut found = Profiles::default();
    let risen: Vec<&str> = families
        .iter()
        .filter(|(_, share)| share.has_risen(totals))
        .map(|(name, _)| name.as_str())
        .collect();
    let known = Shares { profile: &profile, families: &families, totals };
    note_families(inquiry, &known, &risen, (periods, &mut found)).await?;
    note_functions(inquiry, &profile, &risen, (periods, &mut found)).await?;
    Ok(found)
}

/// The sample type for shares of processor time: `cpu` where a profile has it, else `samples`.
pub(crate) async fn sample_type(
    inquiry: &Inquiry<'_>,
    service: &str,
    periods: &Periods,
) -> Result<Option<ProfileOf>, RulesError> {
    for sample_type in ["cpu", "samples"] {
        let profile =
            ProfileOf { service: service.to_owned(), sample_type: sample_type.to_owned() };
        let sql = format!(
            "WITH {}\nSELECT period, sum(hits) AS hits FROM samples GROUP BY period HAVING sum(hits) > 0 ORDER BY period",
            samples_cte(&profile, periods)
        );
        if inquiry.rows("the sample type of profiles", &sql).await?.len() == 2 {
            return Ok(Some(profile));
        }
    }
    Ok(None)
}

/// Shares of a service's families.
struct Shares<'a> {
    profile: &'a ProfileOf,
    families: &'a BTreeMap<String, Share>,
    totals: Share,
}

/// Values and sample counts of a name, or of everything, in both periods.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Share {
    value: [i64; 2],
    hits: [i64; 2],
}

impl Share {
    /// As a finding has it: both percentages, and the samples now.
    fn figures(self, totals: Self) -> Figures {
        let percent = |side| Some(self.percent(totals, side));
        Figures { observed: percent(0), baseline: percent(1), n: totals.hits[0] }
    }

    fn percent(self, totals: Self, side: usize) -> f64 {
        100.0 * self.value[side] as f64 / totals.value[side].max(1) as f64
    }

    /// Standard errors between now and before.
    fn z(self, totals: Self) -> f64 {
        let of = |side: usize| (self.hits[side] as f64, totals.hits[side] as f64);
        share_z(of(0), of(1))
    }

    fn has_risen(self, totals: Self) -> bool {
        let (now, before) = (self.percent(totals, 0), self.percent(totals, 1));
        now - before >= POINTS_MIN && now >= FACTOR_MIN * before && self.z(totals) > Z_MIN
    }
}

/// Shares by family or function, and the totals; `None` with too few samples.
async fn shares(
    inquiry: &Inquiry<'_>,
    profile: &ProfileOf,
    by: &str,
    periods: &Periods,
) -> Result<Option<(BTreeMap<String, Share>, Share)>, RulesError> {
    let sql = format!(
        "WITH {},\nnames AS (\n  SELECT DISTINCT stack_id, {by} AS name FROM profile_stack_frames WHERE {by} IS NOT NULL AND {}\n)\nSELECT n.name, s.period, sum(s.value) AS value, sum(s.hits) AS hits FROM samples AS s JOIN names AS n ON n.stack_id = s.stack_id GROUP BY n.name, s.period\nUNION ALL\nSELECT CAST(NULL AS VARCHAR) AS name, period, sum(value) AS value, sum(hits) AS hits FROM samples GROUP BY period",
        samples_cte(profile, periods),
        frame_days(periods)
    );
    let rows = inquiry.rows("shares of frames", &sql).await?;
    let (names, sides) = (rows.optional_texts("name")?, rows.texts("period")?);
    let (values, hits) = (rows.ints("value")?, rows.ints("hits")?);
    let (mut shares, mut totals) = (BTreeMap::new(), Share::default());
    for (row, name) in names.into_iter().enumerate() {
        let share = match name {
            Some(name) => shares.entry(name).or_insert_with(Share::default),
            None => &mut totals,
        };
        let side = usize::from(sides[row] != "now");
        (share.value[side], share.hits[side]) = (values[row], hits[row]);
    }
    let enough = totals.hits.iter().all(|hits| *hits >= SAMPLES_MIN);
    Ok(enough.then_some((shares, totals)))
}

async fn note_families(
    inquiry: &mut Inquiry<'_>,
    shares: &Shares<'_>,
    risen: &[&str],
    (periods, found): (&Periods, &mut Profiles),
) -> Result<(), RulesError> {
    let has = |name: &&str| shares.families.contains_key(*name);
    let garbage: Vec<&str> = GARBAGE.into_iter().filter(has).collect();
    let garbage_risen = garbage.iter().any(|name| risen.contains(name));
    if garbage_risen {
        found.risen.push(note(inquiry, shares, &garbage, periods).await?);
        if garbage.len() > 1 {
            for name in &garbage {
                let apart = note(inquiry, shares, &[name], periods).await?;
                found.findings.push(apart.finding);
            }
        }
    }
    for name in risen.iter().filter(|name| !GARBAGE.contains(name)) {
        found.risen.push(note(inquiry, shares, &[name], periods).await?);
    }
    for name in shares.families.keys().filter(|name| !risen.contains(&name.as_str())) {
        if !GARBAGE.contains(&name.as_str()) {
            let calm = note(inquiry, shares, &[name], periods).await?;
            found.findings.push(calm.finding);
        }
    }
    found.findings.extend(found.risen.iter().map(|risen| risen.finding.clone()));
    let all: Vec<String> = found.risen.iter().flat_map(|risen| risen.families.clone()).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    if found.risen.len() > 1 {
        let combined = note(inquiry, shares, &all, periods).await?;
        found.findings.push(combined.finding.clone());
        found.combined = Some(combined);
    } else {
        found.combined = found.risen.first().cloned();
    }
    Ok(())
}

async fn note(
    inquiry: &mut Inquiry<'_>,
    shares: &Shares<'_>,
    families: &[&str],
    periods: &Periods,
) -> Result<Risen, RulesError> {
    let profile = shares.profile;
    let one = families.first().filter(|_| families.len() == 1);
    let share = one.and_then(|family| shares.families.get(*family));
    let families: Vec<String> = families.iter().map(|name| (*name).to_owned()).collect();
    let signal = Signal::FamilyShare { profile: profile.clone(), families: families.clone() };
    let reading = match share {
        Some(share) => Inquiry::measured(signal, share.figures(shares.totals), periods),
        None => inquiry.read(signal, periods).await?,
    };
    let figures = reading.figures;
    let (now, before) = figures.pair().unwrap_or_default();
    let words = families.join(" + ");
    let statement = format!(
        "{words} went from {} to {} of the processor samples of {} ({} samples now; union over stacks)",
        figures::percent(before),
        figures::percent(now),
        profile.service,
        figures::count(figures.n)
    );
    let subject = format!("{} {words}", profile.service);
    let rule = if now - before >= POINTS_MIN { "frame_family_rise" } else { "frame_family" };
    let finding = inquiry.note(rule, &subject, reading, statement);
    Ok(Risen { families, figures, finding })
}

/// For each risen family the function of it that rose most.
async fn note_functions(
    inquiry: &mut Inquiry<'_>,
    profile: &ProfileOf,
    risen: &[&str],
    (periods, found): (&Periods, &mut Profiles),
) -> Result<(), RulesError> {
    if risen.is_empty() {
        return Ok(());
    }
    let Some((functions, totals)) = shares(inquiry, profile, "function", periods).await? else {
        return Ok(());
    };
    let frames = frames(inquiry, periods).await?;
    for family in risen {
        let Some((function, share)) = foremost(family, (&functions, totals), &frames) else {
            continue;
        };
        let signal = Signal::FunctionShare { profile: profile.clone(), function: function.clone() };
        let reading = Inquiry::measured(signal, share.figures(totals), periods);
        let (now, before) = reading.figures.pair().unwrap_or_default();
        let statement = format!(
            "{function} went from {} to {} of the processor samples of {} (z {:.1})",
            figures::percent(before),
            figures::percent(now),
            profile.service,
            share.z(totals)
        );
        let subject = format!("{} {function}", profile.service);
        found.findings.push(inquiry.note("frame_rise", &subject, reading, statement));
    }
    Ok(())
}

/// A function with a family.
struct Frame {
    function: String,
    family: String,
    /// Whether some stack ends in it.
    is_leaf: bool,
}

async fn frames(inquiry: &Inquiry<'_>, periods: &Periods) -> Result<Vec<Frame>, RulesError> {
    let sql = format!(
        "SELECT function, family, max(CASE WHEN is_leaf THEN 1 ELSE 0 END) AS leaf FROM profile_stack_frames\nWHERE family IS NOT NULL AND {}\nGROUP BY function, family ORDER BY function, family",
        frame_days(periods)
    );
    let rows = inquiry.rows("the functions of families", &sql).await?;
    let leaves = rows.ints("leaf")?;
    let names = rows.texts("function")?.into_iter().zip(rows.texts("family")?);
    Ok(names
        .zip(leaves)
        .map(|((function, family), leaf)| Frame { function, family, is_leaf: leaf > 0 })
        .collect())
}

/// Of the functions that rose most, the one in which stacks end, then the one with the shortest
/// name: nested calls of one package share their stacks, and its entry has the plainest name.
fn foremost<'a>(
    family: &str,
    (functions, totals): (&'a BTreeMap<String, Share>, Share),
    frames: &[Frame],
) -> Option<(&'a String, Share)> {
    let points = |share: &Share| share.percent(totals, 0) - share.percent(totals, 1);
    let risen: Vec<_> = frames
        .iter()
        .filter(|frame| frame.family == family)
        .filter_map(|frame| Some((frame, functions.get_key_value(&frame.function)?)))
        .filter(|(_, (_, share))| share.has_risen(totals))
        .collect();
    let most = risen.iter().map(|(_, (_, share))| points(share)).reduce(f64::max)?;
    let (_, (function, share)) = risen
        .into_iter()
        .filter(|(_, (_, share))| most - points(share) < SAME_POINTS)
        .min_by_key(|(frame, (name, _))| (!frame.is_leaf, name.len(), name.as_str()))?;
    Some((function, *share))
}
