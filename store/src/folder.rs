//! The folders of a store: who writes to them, and where each table lies.
//!
//! | path | is |
//! |---|---|
//! | `<data>/<tenant>/<table>/` | a table |
//! | `<data>/<tenant>/upriver.lock` | locked by the one process that writes; in a bucket many write, each with a log |
//! | `<data>/wal/`, or a folder of its own | the log's segments; of other tenants in a folder below |
//! | `<wal>/upriver.lock` | the log's own lock: two data folders cannot share a log |
//! | `<wal>/node.json` | the id under which the log's sequences stand in the tables, and the tenant |

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::error::StoreError;
use crate::place::{Location, Place};
use crate::schema::Table;
use crate::store::StoreOptions;
use crate::wal::{Durability, has_segments, sync_folder};

#[cfg(test)]
mod tests;

const LOCK_FILE: &str = "upriver.lock";
const NODE_FILE: &str = "node.json";
/// The log's folder unless one is given.
pub(crate) const WAL_FOLDER: &str = "wal";
/// Tenant names become folder names; 64 bytes fit every file system and key scheme.
const TENANT_BYTES_MAX: usize = 64;

/// The log's folder; `None` where none is given and the tables are in a bucket.
pub(crate) fn wal(data: &Location, given: Option<&Path>) -> Option<PathBuf> {
    let beside = || data.folder().map(|folder| folder.join(WAL_FOLDER));
    given.map(Path::to_owned).or_else(beside)
}

/// Where a tenant's tables and their log lie.
#[derive(Clone, Debug)]
pub(crate) struct DataFolder {
    tables: Place,
    /// None for somebody who only reads a bucket.
    wal: Option<PathBuf>,
    tenant: String,
}

/// Held by the one process that writes; the locks go with it.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _tables: Option<File>,
    _wal: File,
}

impl DataFolder {
    /// The folders of the options' tenant.
    pub(crate) fn new(options: &StoreOptions) -> Result<Self, StoreError> {
        let tenant = options.tenant.clone();
        if let Some(why) = tenant_problem(&tenant) {
            return Err(StoreError::Tenant { name: tenant, why });
        }
        let wal = wal(&options.data, options.wal.as_deref());
        let data = match &options.data {
            Location::Folder(folder) => {
                let is_synced = options.durability == Durability::Fsync;
                Place::folder(folder, is_synced)?.with_room(&options.faults.table_room, is_synced)
            }
            Location::Bucket(url) => Place::bucket(url, &options.bucket, wal.as_deref())?,
        };
        Ok(Self { tables: data.child(&tenant), wal, tenant })
    }

    /// The log's folder, which whoever writes needs.
    pub(crate) fn wal(&self) -> Result<&Path, StoreError> {
        self.wal.as_deref().ok_or_else(|| StoreError::NoLog { location: self.tables.to_string() })
    }

    /// The log's folder, where there is one.
    pub(crate) fn wal_if_any(&self) -> Option<&Path> {
        self.wal.as_deref()
    }

    /// Where the tables are.
    pub(crate) fn tables(&self) -> &Place {
        &self.tables
    }

    /// Where a table is.
    pub(crate) fn table(&self, table: Table) -> Place {
        self.tables.child(table.folder())
    }

    /// Creates the folders and locks them against other writers.
    pub(crate) fn lock(&self) -> Result<FolderLock, StoreError> {
        let tables = self.tables.local().map(lock).transpose()?;
        Ok(FolderLock { _tables: tables, _wal: lock(self.wal()?)? })
    }

    /// The application id of this log in the tables' transactions; made up at the first start.
    pub(crate) fn node_or_new(&self) -> Result<String, StoreError> {
        if let Some(node) = self.node()? {
            return Ok(node);
        }
        let id = Uuid::new_v4();
        let content = json!({ "id": id.to_string(), "tenant": self.tenant });
        let path = self.wal()?.join(NODE_FILE);
        write_durably(&path, content.to_string().as_bytes())
            .map_err(StoreError::folder("write", &path))?;
        Ok(application_id(&id.to_string()))
    }

    /// The application id of this log, if it has one yet.
    pub(crate) fn node(&self) -> Result<Option<String>, StoreError> {
        let Some(wal) = &self.wal else { return Ok(None) };
        let path = wal.join(NODE_FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if has_segments(wal)? {
                    return Err(StoreError::Node { path, what: "missing".to_owned() });
                }
                return Ok(None);
            }
            Err(error) => return Err(StoreError::folder("read", &path)(error)),
        };
        let node: Value = serde_json::from_str(&text).unwrap_or_default();
        let (Some(id), Some(tenant)) = (node["id"].as_str(), node["tenant"].as_str()) else {
            return Err(StoreError::Node { path, what: "not readable".to_owned() });
        };
        if tenant != self.tenant {
            let (found, asked) = (tenant.to_owned(), self.tenant.clone());
            return Err(StoreError::ForeignLog { folder: wal.clone(), found, asked });
        }
        Ok(Some(application_id(id)))
    }
}

fn application_id(node: &str) -> String {
    format!("node:{node}")
}

/// Why a name cannot be a tenant's, if it cannot.
pub fn tenant_problem(tenant: &str) -> Option<&'static str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if tenant.is_empty() {
        Some("it is empty")
    } else if tenant.len() > TENANT_BYTES_MAX {
        Some("it is longer than 64 bytes")
    } else if !tenant.bytes().all(is_plain) {
        Some("use letters, digits, `-` and `_` alone")
    } else if tenant == WAL_FOLDER {
        Some("`wal` is the log's folder")
    } else {
        None
    }
}

fn lock(folder: &Path) -> Result<File, StoreError> {
    fs::create_dir_all(folder).map_err(StoreError::folder("create", folder))?;
    let path = folder.join(LOCK_FILE);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(StoreError::folder("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { folder: folder.to_owned() }),
        Err(TryLockError::Error(error)) => Err(StoreError::folder("lock", &path)(error)),
    }
}

/// Writes a small file so that after a crash it is there with all of its content or not at all.
fn write_durably(path: &Path, content: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("draft");
    let mut file = File::create(&draft)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    path.parent().map_or(Ok(()), sync_folder)
}
