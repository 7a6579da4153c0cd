//! The kinds of incidents, healthy days and traps.

/// A kind of case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// A deploy makes a callee's responses larger; whoever reads them becomes slow.
    PayloadGrowth,
    /// A deploy makes a caller send larger requests; the callee becomes slow.
    RequestGrowth,
    /// A deploy makes a callee's own code slow.
    SlowCallee,
    /// A deploy makes the entry's own code slow.
    SlowEntry,
    /// A configuration change makes a callee slow.
    ConfigChange,
    /// A feature flag makes a callee slow.
    FeatureFlag,
    /// A deploy on one instance of several makes that one slow.
    Canary,
    /// A deploy makes a callee allocate: its collector takes over.
    GcPressure,
    /// A deploy makes a callee's threads wait for each other.
    LockContention,
    /// A callee lost instances without a recorded change; the others queue.
    Saturation,
    /// A host slows everything on it.
    NoisyHost,
    /// A callee fails often; those that call it try again.
    RetryStorm,
    /// A deploy makes a caller ask its callee many times instead of once.
    NPlusOne,
    /// More requests than a callee can take.
    TrafficSurge,
    /// People ask for the expensive operation more often; no operation is slower.
    MixShift,
    /// A deploy asks the cache for other keys; the database answers.
    CacheMiss,
    /// A cache lost its contents, without a change.
    CacheCold,
    /// A database became slow, without a change.
    DependencySlow,
    /// A callee became slow, without a change.
    CalleeSlowUnchanged,
    /// The way to a callee became long, without a change.
    NetworkDelay,
    /// A callee that sends no spans became slow.
    UninstrumentedCallee,
    /// A database became slow minutes after a harmless deploy in the path.
    CoincidentDeploy,
    /// A callee was slow already when it was deployed.
    DeployAfterOnset,
    /// A deploy and a database, both slow, at about the same time.
    TwoCauses,
    /// Three services in the path are deployed in the same minute; one of them becomes slow.
    SimultaneousDeploys,
    /// A deploy makes a callee fail late.
    ErrorBurst,
    /// A deploy makes a callee slower and slower over an hour.
    Leak,
    /// A deploy that no pipeline reported makes a callee slow.
    UnrecordedDeploy,
    /// Nothing happens.
    HealthyDay,
    /// Nothing happens, with twelve deploys an hour.
    HealthyBusy,
    /// A deploy moves work between functions; nothing is slower.
    HealthyRefactor,
    /// A few bad minutes that have passed.
    HealthySpike,
    /// Traces of fast requests are dropped from some instant on, and no one says so.
    TailSampling,
    /// A service stops sending spans.
    TelemetryLoss,
    /// A callee becomes slower from day to day for a week, without a change.
    SlowGrowth,
    /// Every week at this hour a callee takes longer.
    WeeklyPeak,
}

impl Family {
    /// Every family, in the order of their declaration.
    pub const ALL: [Self; 36] = [
        Self::PayloadGrowth,
        Self::RequestGrowth,
        Self::SlowCallee,
        Self::SlowEntry,
        Self::ConfigChange,
        Self::FeatureFlag,
        Self::Canary,
        Self::GcPressure,
        Self::LockContention,
        Self::Saturation,
        Self::NoisyHost,
        Self::RetryStorm,
        Self::NPlusOne,
        Self::TrafficSurge,
        Self::MixShift,
        Self::CacheMiss,
        Self::CacheCold,
        Self::DependencySlow,
        Self::CalleeSlowUnchanged,
        Self::NetworkDelay,
        Self::UninstrumentedCallee,
        Self::CoincidentDeploy,
        Self::DeployAfterOnset,
        Self::TwoCauses,
        Self::SimultaneousDeploys,
        Self::ErrorBurst,
        Self::Leak,
        Self::UnrecordedDeploy,
        Self::HealthyDay,
        Self::HealthyBusy,
        Self::HealthyRefactor,
        Self::HealthySpike,
        Self::TailSampling,
        Self::TelemetryLoss,
        Self::SlowGrowth,
        Self::WeeklyPeak,
    ];

    /// Name of the family in labels and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::PayloadGrowth => "payload_growth",
            Self::RequestGrowth => "request_growth",
            Self::SlowCallee => "slow_callee",
            Self::SlowEntry => "slow_entry",
            Self::ConfigChange => "config_change",
            Self::FeatureFlag => "feature_flag",
            Self::Canary => "canary",
            Self::GcPressure => "gc_pressure",
            Self::LockContention => "lock_contention",
            Self::Saturation => "saturation",
            Self::NoisyHost => "noisy_host",
            Self::RetryStorm => "retry_storm",
            Self::NPlusOne => "n_plus_one",
            Self::TrafficSurge => "traffic_surge",
            Self::MixShift => "mix_shift",
            Self::CacheMiss => "cache_miss",
            Self::CacheCold => "cache_cold",
            Self::DependencySlow => "dependency_slow",
            Self::CalleeSlowUnchanged => "callee_slow_unchanged",
            Self::NetworkDelay => "network_delay",
            Self::UninstrumentedCallee => "uninstrumented_callee",
            Self::CoincidentDeploy => "coincident_deploy",
            Self::DeployAfterOnset => "deploy_after_onset",
            Self::TwoCauses => "two_causes",
            Self::SimultaneousDeploys => "simultaneous_deploys",
            Self::ErrorBurst => "error_burst",
            Self::Leak => "leak",
            Self::UnrecordedDeploy => "unrecorded_deploy",
            Self::HealthyDay => "healthy_day",
            Self::HealthyBusy => "healthy_busy",
            Self::HealthyRefactor => "healthy_refactor",
            Self::HealthySpike => "healthy_spike",
            Self::TailSampling => "tail_sampling",
            Self::TelemetryLoss => "telemetry_loss",
            Self::SlowGrowth => "slow_growth",
            Self::WeeklyPeak => "weekly_peak",
        }
    }

    /// The family of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.name() == name)
    }

    /// Whether no request takes longer in truth.
    pub fn is_healthy(self) -> bool {
        matches!(
            self,
            Self::MixShift
                | Self::HealthyDay
                | Self::HealthyBusy
                | Self::HealthyRefactor
                | Self::HealthySpike
                | Self::TailSampling
                | Self::TelemetryLoss
                | Self::WeeklyPeak
        )
    }

    /// Whether only last week shows what is the matter.
    pub fn needs_last_week(self) -> bool {
        matches!(self, Self::SlowGrowth | Self::WeeklyPeak)
    }
}
