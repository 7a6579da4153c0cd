//! `GET /debug/pprof/profile?seconds=30`: the service's own CPU profile, gzip pprof, at the address where
//! Go programs have theirs, so that the same tools fetch it.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use pprof::{Frames, ProfilerGuardBuilder, Symbol};
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use upriver_ingest::pprof::Folding;
use upriver_ingest::pprof::folded::to_pprof;

/// Samples per second of CPU time. Go takes 100; one less does not run in step with timers.
const SAMPLE_RATE: u32 = 99;
const SECONDS_DEFAULT: u64 = 30;
/// Longer profiles say nothing that several short ones do not.
const SECONDS_MAX: u64 = 300;

#[derive(Deserialize)]
struct Parameters {
    seconds: Option<u64>,
}

/// The route. There is one profiler in a process, so there is one profile at a time.
pub(super) fn routes() -> Router {
    let profiler = Arc::new(Semaphore::new(1));
    Router::new().route("/debug/pprof/profile", get(profile)).with_state(profiler)
}

async fn profile(
    State(profiler): State<Arc<Semaphore>>,
    Query(Parameters { seconds }): Query<Parameters>,
) -> Response {
    let seconds = seconds.unwrap_or(SECONDS_DEFAULT);
    if !(1..=SECONDS_MAX).contains(&seconds) {
        let message = format!("seconds={seconds} is not between 1 and {SECONDS_MAX}\n");
        return (StatusCode::BAD_REQUEST, message).into_response();
    }
    let Ok(permit) = profiler.try_acquire_owned() else {
        return (StatusCode::CONFLICT, "a profile is being taken; ask again later\n")
            .into_response();
    };
    let runtime = Handle::current();
    let work = move || {
        let taken = take(&runtime, Duration::from_secs(seconds));
        drop(permit);
        taken
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(body)) => {
            let headers = [
                (CONTENT_TYPE, "application/octet-stream"),
                (CONTENT_DISPOSITION, "attachment; filename=\"profile\""),
            ];
            (headers, body).into_response()
        }
        Ok(Err(error)) => failed(&format!("{error:#}")),
        Err(error) => failed(&error.to_string()),
    }
}

fn failed(why: &str) -> Response {
    tracing::warn!(name: "server.profile.fail", why, "server.profile.fail");
    (StatusCode::INTERNAL_SERVER_ERROR, format!("the profile failed: {why}\n")).into_response()
}

/// Blocks for as long as the profile takes.
fn take(runtime: &Handle, time: Duration) -> anyhow::Result<Vec<u8>> {
    let guard = ProfilerGuardBuilder::default()
        .frequency(i32::try_from(SAMPLE_RATE)?)
        // A signal in the middle of these may find their locks taken.
        .blocklist(&["libc", "libgcc", "pthread", "vdso"])
        .build()
        .context("could not start the profiler")?;
    runtime.block_on(tokio::time::sleep(time));
    let report = guard.report().build().context("could not read the profiler")?;
    drop(guard);
    let profile = to_pprof(folded(&report.data).as_bytes(), Folding::Folded, SAMPLE_RATE)?;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&profile)?;
    Ok(gzip.finish()?)
}

/// Stacks as text, root first, below the name of their thread.
fn folded(stacks: &HashMap<Frames, isize>) -> String {
    let mut text = String::new();
    for (stack, count) in stacks {
        let frames = stack.frames.iter().rev().flat_map(|frame| frame.iter().rev());
        let frames = frames.map(Symbol::name);
        let names = std::iter::once(stack.thread_name.clone()).chain(frames);
        let names: Vec<_> = names.map(|name| name.replace(';', ":").replace('\n', " ")).collect();
        text.push_str(&format!("{} {count}\n", names.join(";")));
    }
    text
}
