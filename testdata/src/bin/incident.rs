//! Writes a labelled incident as an importable case folder: `incident --family F --seed N --out DIR`.

#![expect(clippy::print_stdout, reason = "a program that prints what it wrote")]

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use std::path::PathBuf;
use upriver_testdata::incidents::{Attributes, Family, Incident, Options};

/// Writes a labelled incident as an importable case folder.
#[derive(Debug, Parser)]
struct Arguments {
    /// Lists the families and ends.
    #[arg(long)]
    list: bool,
    /// Kind of case.
    #[arg(long, required_unless_present = "list")]
    family: Option<String>,
    /// Seed of the topology and of everything else.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Hours of healthy traffic before it begins; the number of spans stays.
    #[arg(long, default_value_t = 2)]
    history_hours: u32,
    /// Times the usual number of spans, some 90,000, at the same times of the same topology.
    #[arg(long, default_value_t = 1.0)]
    size: f64,
    /// How much requests differ in the work that they are: the sigma of its logarithm. 0.6 makes the
    /// 90th percentile about twice the median.
    #[arg(long, default_value_t = 0.0)]
    scatter: f64,
    /// Attributes that no sender reports.
    #[arg(long, value_enum)]
    without: Option<Without>,
    /// Folder of the case; made if missing.
    #[arg(long, required_unless_present = "list")]
    out: Option<PathBuf>,
}

/// Attributes, as they are called on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Without {
    PayloadSizes,
    Versions,
    Hosts,
}

impl From<Without> for Attributes {
    fn from(without: Without) -> Self {
        match without {
            Without::PayloadSizes => Self::PayloadSizes,
            Without::Versions => Self::Versions,
            Without::Hosts => Self::Hosts,
        }
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let (Some(name), Some(out)) = (&arguments.family, &arguments.out) else {
        for family in Family::ALL {
            println!("{}", family.name());
        }
        return Ok(());
    };
    let family = Family::named(name)
        .with_context(|| format!("unknown family {name}: --list prints the known ones"))?;
    let options = Options {
        history_hours: arguments.history_hours,
        size: arguments.size,
        scatter: arguments.scatter,
        without: arguments.without.map(Attributes::from),
        ..Options::new(family, arguments.seed)
    };
    let (summary, label) = Incident::new(options).write_case(out)?;
    println!(
        "{name} {}: {} spans, {} profiles, {} deploys; {}",
        arguments.seed,
        summary.spans,
        summary.profiles,
        summary.deploys,
        label.effect.map_or_else(
            || "no effect".to_owned(),
            |effect| format!(
                "{:.2}x and {:.1} ms at p{:.0} of {} requests",
                effect.ratio,
                effect.delta_ms,
                effect.quantile * 100.0,
                effect.requests
            )
        )
    );
    Ok(())
}
