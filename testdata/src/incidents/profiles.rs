//! CPU profiles of some services: stacks of a Go program in groups that grow or shrink together.

use super::clock::{MINUTE, SECOND, whole};
use crate::pprof::{CpuProfile, Frame, cpu_profile};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Poisson, StandardNormal};

/// Go's profiler interrupts a running thread 100 times per second.
const PERIOD: i64 = SECOND / 100;
pub(crate) const LENGTH: i64 = MINUTE;
/// A service is profiled this often.
pub(crate) const EVERY: i64 = 5 * MINUTE;
/// Processor time per second of a process on a usual day.
const CORES: f64 = 0.3;
/// Spread between profiles of a group's share.
const SIGMA: f64 = 0.06;

/// What takes over a service's processor time, and by which factor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shift {
    pub(crate) service: usize,
    pub(crate) kind: ShiftKind,
    pub(crate) factor: f64,
    pub(crate) start: i64,
}

/// Which groups of stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShiftKind {
    /// The service's own functions.
    Code,
    /// Decoding and encoding, and the memory that it takes.
    Bodies,
    Collector,
    Locks,
    /// From one function to another, in sum the same.
    Refactor,
}

/// A group of stacks with its usual share of the samples.
struct Group {
    name: &'static str,
    share: f64,
    stack: &'static [Frame],
}

const fn frame(function: &'static str, file: &'static str, line: i64) -> Frame {
    Frame { function, file, line }
}

const SERVE: Frame = frame("net/http.(*conn).serve", "net/http/server.go", 2092);
const HANDLE: Frame = frame("main.(*Server).handle", "main/server.go", 88);

static GROUPS: [Group; 9] = [
    Group {
        name: "rank",
        share: 26.0,
        stack: &[frame("main.rank", "main/rank.go", 41), HANDLE, SERVE],
    },
    Group {
        name: "merge",
        share: 18.0,
        stack: &[frame("main.merge", "main/merge.go", 77), HANDLE, SERVE],
    },
    Group {
        name: "encode",
        share: 9.0,
        stack: &[
            frame("encoding/json.(*encodeState).marshal", "encoding/json/encode.go", 297),
            frame("encoding/json.Marshal", "encoding/json/encode.go", 161),
            HANDLE,
            SERVE,
        ],
    },
    Group {
        name: "decode",
        share: 7.0,
        stack: &[
            frame("encoding/json.(*decodeState).object", "encoding/json/decode.go", 755),
            frame("encoding/json.Unmarshal", "encoding/json/decode.go", 108),
            HANDLE,
            SERVE,
        ],
    },
    Group {
        name: "allocate",
        share: 6.0,
        stack: &[
            frame("runtime.mallocgc", "runtime/malloc.go", 1029),
            frame("main.merge", "main/merge.go", 80),
            HANDLE,
            SERVE,
        ],
    },
    Group {
        name: "collect",
        share: 7.0,
        stack: &[
            frame("runtime.scanobject", "runtime/mgcmark.go", 1446),
            frame("runtime.gcDrain", "runtime/mgcmark.go", 1217),
            frame("runtime.gcBgMarkWorker", "runtime/mgc.go", 1363),
        ],
    },
    Group {
        name: "lock",
        share: 2.0,
        stack: &[
            frame("runtime.lock2", "runtime/lock_futex.go", 118),
            frame("runtime.semacquire1", "runtime/sema.go", 160),
            frame("sync.(*Mutex).lockSlow", "sync/mutex.go", 149),
            HANDLE,
            SERVE,
        ],
    },
    Group {
        name: "network",
        share: 19.0,
        stack: &[
            frame(
                "internal/runtime/syscall.Syscall6",
                "internal/runtime/syscall/asm_linux_amd64.s",
                36,
            ),
            frame("syscall.write", "syscall/zsyscall_linux_amd64.go", 964),
            frame("net.(*conn).Write", "net/net.go", 203),
            SERVE,
        ],
    },
    Group {
        name: "log",
        share: 6.0,
        stack: &[frame("log/slog.(*Logger).log", "log/slog/logger.go", 256), HANDLE, SERVE],
    },
];

/// One profile of a process: its own work relative to usual, and the shifts that hold.
pub(crate) fn record(
    time_unix_nano: i64,
    work: f64,
    shifts: &[Shift],
    random: &mut ChaCha8Rng,
) -> Vec<u8> {
    let usual = CORES * LENGTH as f64 / PERIOD as f64 / 100.0;
    let mut samples: Vec<(&[Frame], i64)> = Vec::new();
    for group in &GROUPS {
        let factor: f64 = shifts.iter().map(|shift| factor(group.name, *shift)).product();
        let normal: f64 = StandardNormal.sample(random);
        let expected = group.share * usual * work * factor * (SIGMA * normal).exp();
        let drawn = Poisson::new(expected.max(0.01)).map_or(0.0, |counts| counts.sample(random));
        if drawn >= 1.0 {
            samples.push((group.stack, whole(drawn)));
        }
    }
    let profile = CpuProfile {
        time_unix_nano,
        duration_nano: LENGTH,
        period_nano: PERIOD,
        binary: "/usr/local/bin/server",
    };
    cpu_profile(profile, &samples)
}

fn factor(group: &str, shift: Shift) -> f64 {
    match (shift.kind, group) {
        (ShiftKind::Code, "rank") => shift.factor,
        (ShiftKind::Bodies, "encode" | "decode") => shift.factor,
        (ShiftKind::Bodies, "allocate" | "collect") => 1.0 + (shift.factor - 1.0) * 0.6,
        (ShiftKind::Collector, "collect" | "allocate") => shift.factor,
        (ShiftKind::Locks, "lock") => shift.factor,
        (ShiftKind::Refactor, "rank") => 0.15,
        // What the first function loses: 26 * 0.85 of 100 in all.
        (ShiftKind::Refactor, "merge") => 1.0 + 26.0 * 0.85 / 18.0,
        _ => 1.0,
    }
}

/// Instants at which a service is profiled, in a window.
pub(crate) fn instants(start: i64, end: i64, random: &mut ChaCha8Rng) -> Vec<i64> {
    let first = start + random.random_range(0..EVERY / SECOND) * SECOND;
    (0..=(end - first) / EVERY)
        .map(|n| first + n * EVERY)
        .filter(|instant| instant + LENGTH <= end)
        .collect()
}
