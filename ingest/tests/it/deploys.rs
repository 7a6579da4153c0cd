//! Events of other tools at the deploy door: refused by name, never stored as something else.

use upriver_ingest::{DecodeError, deploys};
use upriver_store::time::UnixNanos;

use crate::support::{fixtures, read};

#[test]
fn events_of_other_tools_are_refused_by_name() {
    let Some(folder) = fixtures("deploys") else { return };
    for (tool, format) in [
        ("alertmanager", "an Alertmanager webhook"),
        ("cdevents", "a CDEvents event"),
        ("flux", "a Flux notification"),
        ("github", "a GitHub webhook"),
    ] {
        for entry in std::fs::read_dir(folder.join(tool)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let structured = path.file_name().unwrap().to_string_lossy().starts_with("structured");
            let format = if structured { "a CloudEvents event" } else { format };
            let error = deploys::decode(&read(&path), UnixNanos(1)).unwrap_err();
            let named =
                matches!(&error, DecodeError::Unsupported { format: found, .. } if found == format);
            assert!(named, "{}: {error}", path.display());
        }
    }
}
