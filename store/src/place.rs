//! Where tables lie: a folder of this machine, or a bucket. Everything that reads or writes them goes
//! through the object store of a [`Place`], so both behave the same.

mod local;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path as ObjectPath;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, ObjectStoreScheme, RetryConfig};
use url::Url;

use self::local::LocalDisk;
use crate::error::StoreError;
use crate::faults::DiskRoom;

/// How long a request to a bucket is tried again. A commit that waits longer holds up all others, and
/// its rows are safe in the log: it fails, and is tried with the next.
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);
const RETRIES_MAX: usize = 8;
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// A request that has brought nothing for so long is given up and tried again.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Where data is kept, as somebody names it: `./folder`, `s3://bucket/prefix`, `gs://...`, `az://...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A bucket, and a prefix in it.
    Bucket(Url),
}

impl Location {
    /// The folder, where it is one.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder(folder) => Some(folder),
            Self::Bucket(_) => None,
        }
    }
}

impl From<PathBuf> for Location {
    fn from(folder: PathBuf) -> Self {
        Self::Folder(folder)
    }
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("the path is empty; give a local folder or a bucket".to_owned());
        }
        let Some((scheme, _)) = text.split_once("://") else {
            return Ok(Self::Folder(PathBuf::from(text)));
        };
        let url = Url::parse(text).map_err(|error| format!("{text:?} is no URL: {error}"))?;
        match scheme {
            "s3" | "s3a" | "gs" | "az" | "azure" | "abfs" | "abfss" => {}
            _ => {
                return Err(format!(
                    "{text:?}: `{scheme}` is not known; use s3://, gs:// or az://, or a local folder"
                ));
            }
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(format!("{text:?} names no bucket; use {scheme}://bucket/prefix"));
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./=".contains(&byte);
        if !url.path().bytes().all(is_plain) {
            return Err(format!(
                "{text:?}: use letters, digits, `-`, `_`, `.`, `=` and `/` in the prefix; readers of tables disagree on how others are written"
            ));
        }
        if url.password().is_some() || url.query().is_some() {
            return Err(format!(
                "a {scheme} address takes no password and no query; give credentials in the environment"
            ));
        }
        Ok(Self::Bucket(url))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => folder.display().fmt(f),
            Self::Bucket(url) => url.fmt(f),
        }
    }
}

/// How a bucket is reached: pairs such as `aws_endpoint_url`, by the names of the `object_store` crate.
/// Their values may be secrets and are never shown.
#[derive(Clone, Default)]
pub struct BucketOptions {
    given: Vec<(String, String)>,
    /// In place of a real bucket.
    #[cfg(test)]
    root: Option<Arc<dyn ObjectStore>>,
}

impl BucketOptions {
    /// Those of the variables that concern buckets: `AWS_*`, `GOOGLE_*` and `AZURE_*`.
    pub fn from_variables(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let concerns = |name: &str| {
            ["AWS_", "GOOGLE_", "AZURE_"].iter().any(|prefix| name.starts_with(prefix))
        };
        let kept = variables.into_iter().filter(|(name, _)| concerns(name));
        let given = kept.map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        Self {
            given,
            #[cfg(test)]
            root: None,
        }
    }

    /// Takes a store of a test for the bucket.
    #[cfg(test)]
    pub(crate) fn standing_in(root: Arc<dyn ObjectStore>) -> Self {
        Self { root: Some(root), ..Self::default() }
    }
}

impl fmt::Debug for BucketOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.given.iter().map(|(name, _)| name)).finish()
    }
}

/// An opened location, or a folder below one.
#[derive(Clone)]
pub struct Place {
    root: Arc<dyn ObjectStore>,
    url: Url,
    prefix: ObjectPath,
    folder: Option<PathBuf>,
    /// Where unfinished files wait until they are brought to a bucket.
    drafts: Option<PathBuf>,
    room: DiskRoom,
}

impl Place {
    /// A folder of this machine. With `is_synced` what is written survives a loss of power.
    pub fn folder(folder: &Path, is_synced: bool) -> Result<Self, StoreError> {
        let folder = std::path::absolute(folder).map_err(StoreError::folder("find", folder))?;
        let unusable = || StoreError::Location {
            location: folder.display().to_string(),
            reason: "it cannot be the folder of tables".to_owned(),
        };
        let url = Url::from_directory_path(&folder).map_err(|()| unusable())?;
        let prefix = ObjectPath::from_absolute_path(&folder).map_err(|_error| unusable())?;
        let root = Arc::new(LocalDisk::new(is_synced));
        let room = DiskRoom::default();
        Ok(Self { root, url, prefix, folder: Some(folder), drafts: None, room })
    }

    /// The same folder on a disk that a test may let run full.
    pub(crate) fn with_room(mut self, room: &DiskRoom, is_synced: bool) -> Self {
        self.root = Arc::new(LocalDisk::new(is_synced).with_room(room));
        self.room = room.clone();
        self
    }

    /// Room on the disk, as far as a test limits it.
    pub(crate) fn room(&self) -> &DiskRoom {
        &self.room
    }

    /// A bucket. Nothing is asked of it yet. Whoever writes needs a local folder for drafts.
    pub fn bucket(
        url: &Url,
        options: &BucketOptions,
        drafts: Option<&Path>,
    ) -> Result<Self, StoreError> {
        let failed = |reason: String| StoreError::Location { location: url.to_string(), reason };
        let (scheme, prefix) =
            ObjectStoreScheme::parse(url).map_err(|error| failed(error.to_string()))?;
        let open = || open_bucket(&scheme, url, options);
        #[cfg(not(test))]
        let opened = open();
        #[cfg(test)]
        let opened = options.root.clone().map_or_else(open, Ok);
        let root = opened.map_err(|error| failed(error.to_string()))?;
        let mut url = url.clone();
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        let drafts = drafts.map(Path::to_owned);
        Ok(Self { root, url, prefix, folder: None, drafts, room: DiskRoom::default() })
    }

    /// A bucket that is in memory, or that something stands before.
    #[cfg(test)]
    pub(crate) fn in_memory(root: Arc<dyn ObjectStore>, url: &Url) -> Self {
        let prefix = ObjectPath::from(url.path());
        let (drafts, room) = (Some(std::env::temp_dir()), DiskRoom::default());
        Self { root, url: url.clone(), prefix, folder: None, drafts, room }
    }

    /// The folder of this name in the place.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push(name).push("");
        }
        Self {
            root: Arc::clone(&self.root),
            url,
            prefix: self.prefix.clone().join(name),
            folder: self.folder.as_ref().map(|folder| folder.join(name)),
            drafts: self.drafts.clone(),
            room: self.room.clone(),
        }
    }

    /// Its objects, by paths relative to it.
    pub fn objects(&self) -> Arc<dyn ObjectStore> {
        Arc::new(PrefixStore::new(Arc::clone(&self.root), self.prefix.clone()))
    }

    /// All objects of the bucket, or of the machine.
    pub(crate) fn root(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.root)
    }

    /// Its address, which ends in `/`.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Where unfinished files wait, where that is not the place itself.
    pub(crate) fn drafts(&self) -> Option<&Path> {
        self.drafts.as_deref()
    }

    /// The folder, where it is one of this machine.
    pub fn local(&self) -> Option<&Path> {
        self.folder.as_deref()
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Place").field(&self.url.as_str()).finish()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.folder {
            Some(folder) => folder.display().fmt(f),
            None => self.url.fmt(f),
        }
    }
}

fn open_bucket(
    scheme: &ObjectStoreScheme,
    url: &Url,
    options: &BucketOptions,
) -> object_store::Result<Arc<dyn ObjectStore>> {
    let retry = RetryConfig {
        backoff: BackoffConfig { init_backoff: BACKOFF_FIRST, max_backoff: BACKOFF_MAX, base: 2.0 },
        max_retries: RETRIES_MAX,
        retry_timeout: RETRY_TIMEOUT,
    };
    let client = ClientOptions::new().with_timeout(REQUEST_TIMEOUT);
    let (given, address) = (&options.given, url.as_str());
    // Options of other clouds are none of its business, so unknown names are passed over.
    macro_rules! opened {
        ($builder:ty) => {{
            let mut builder =
                <$builder>::new().with_url(address).with_retry(retry).with_client_options(client);
            for (name, value) in given {
                if let Ok(key) = name.parse() {
                    builder = builder.with_config(key, value);
                }
            }
            Arc::new(builder.build()?)
        }};
    }
    Ok(match scheme {
        ObjectStoreScheme::GoogleCloudStorage => opened!(GoogleCloudStorageBuilder),
        ObjectStoreScheme::MicrosoftAzure => opened!(MicrosoftAzureBuilder),
        _ => opened!(AmazonS3Builder),
    })
}
