//! The version of an artifact: a package URL, or the name of a container image.
//!
//! A package URL is `pkg:type/namespace/name@version?qualifiers#subpath`
//! (<https://github.com/package-url/purl-spec>). The version of an image is its digest, which no
//! service reports as its own; where the qualifier `tag` tells how people call it, that is taken.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use percent_encoding::percent_decode_str;

use crate::deploys::NAME_BYTES_MAX;

/// The version in an artifact id; `None` where it has none.
pub(super) fn version(id: &str) -> Result<Option<String>, String> {
    let found = match id.strip_prefix("pkg:") {
        Some(package) => of_package(id, package)?,
        None => of_image(id).map(str::to_owned),
    };
    match found {
        Some(version) if version.len() > NAME_BYTES_MAX => Err(format!(
            "the version in `subject.content.artifactId` has {} bytes: at most {NAME_BYTES_MAX} are allowed",
            version.len()
        )),
        found => Ok(found.filter(|version| !version.is_empty())),
    }
}

fn of_package(id: &str, package: &str) -> Result<Option<String>, String> {
    let package = package.split('#').next().unwrap_or_default();
    let (path, qualifiers) = package.split_once('?').unwrap_or((package, ""));
    let pairs = qualifiers.split('&').filter_map(|pair| pair.split_once('='));
    let tag = pairs.into_iter().find(|(key, _)| key.eq_ignore_ascii_case("tag"));
    let version = match tag.filter(|(_, value)| !value.is_empty()) {
        Some((_, tag)) => Some(tag),
        None => path.rsplit_once('@').map(|(_, version)| version),
    };
    let decoded = version.map(|version| percent_decode_str(version).decode_utf8()).transpose();
    let decoded = decoded.map_err(|error| {
        format!("`subject.content.artifactId` is {}: {error}", crate::otlp::shown(id))
    })?;
    Ok(decoded.map(std::borrow::Cow::into_owned))
}

/// `registry:5000/name:tag@sha256:digest`: the tag, else the digest.
fn of_image(id: &str) -> Option<&str> {
    let (name, digest) = match id.rsplit_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (id, None),
    };
    let last = name.rsplit('/').next().unwrap_or(name);
    let tag = last.split_once(':').map(|(_, tag)| tag).filter(|tag| !tag.is_empty());
    tag.or(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_tag_else_what_stands_after_the_at_sign() {
        for (id, expected) in [
            ("pkg:oci/myapp@sha256%3A0b31", Some("sha256:0b31")),
            ("pkg:oci/myapp@sha256:0b31", Some("sha256:0b31")),
            ("pkg:oci/myapp@sha256%3A0b31?repository_url=r.io/team&tag=2.4.0", Some("2.4.0")),
            ("pkg:oci/myapp@sha256%3A0b31?tag=", Some("sha256:0b31")),
            (
                "pkg:golang/mygit.com/myorg/myapp@234fd47e07d1004f0aed9c",
                Some("234fd47e07d1004f0aed9c"),
            ),
            ("pkg:npm/%40acme/cart@1.2.3-rc%2B1#dist/x@y", Some("1.2.3-rc+1")),
            ("pkg:oci/myapp", None),
            ("pkg:oci/myapp@", None),
            ("registry.example:5000/team/cart:2.4.0", Some("2.4.0")),
            ("registry.example:5000/team/cart:2.4.0@sha256:0b31", Some("2.4.0")),
            ("cart@sha256:0b31", Some("sha256:0b31")),
            ("registry.example:5000/team/cart", None),
            ("cart", None),
            ("@", None),
            ("", None),
        ] {
            assert_eq!(version(id).unwrap().as_deref(), expected, "{id}");
        }
    }

    #[test]
    fn what_is_no_text_and_what_is_too_long_is_refused() {
        let long = format!("pkg:oci/a@{}", "1".repeat(NAME_BYTES_MAX + 1));
        for (id, expected) in [("pkg:oci/a@%ff", "invalid utf-8"), (&long, "has 513 bytes")] {
            let why = version(id).unwrap_err();
            assert!(why.contains(expected), "{why}");
        }
    }
}
