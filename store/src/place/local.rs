//! The local disk as an object store whose writes survive a loss of power.
//!
//! `object_store`'s own leaves flushing to the system. An entry of a table's log that the disk forgets
//! would undo a commit whose rows are in no other log any more; one that is there but empty would make
//! the table unreadable. So an object is flushed before its name appears, and its folder after that.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt, future};
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    Result, UploadPart,
};
use uuid::Uuid;

use crate::faults::DiskRoom;
use crate::wal::sync_folder;

/// The local file system, flushed after every write if that is wanted.
#[derive(Debug)]
pub(super) struct LocalDisk {
    files: LocalFileSystem,
    is_synced: bool,
    room: DiskRoom,
}

impl LocalDisk {
    pub(super) fn new(is_synced: bool) -> Self {
        Self { files: LocalFileSystem::new(), is_synced, room: DiskRoom::default() }
    }

    pub(super) fn with_room(mut self, room: &DiskRoom) -> Self {
        self.room = room.clone();
        self
    }

    fn draft(&self, location: &ObjectPath, options: PutOptions) -> Result<Draft> {
        let path = self.files.path_to_filesystem(location)?;
        let room = self.room.clone();
        Ok(Draft { path, mode: options.mode, is_synced: self.is_synced, room })
    }
}

impl fmt::Display for LocalDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalDisk")
    }
}

#[async_trait]
impl ObjectStore for LocalDisk {
    async fn put_opts(
        &self,
        location: &ObjectPath,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.draft(location, options)?.write(payload).await
    }

    async fn put_multipart_opts(
        &self,
        location: &ObjectPath,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let draft = self.draft(location, PutOptions::default())?;
        Ok(Box::new(Upload { draft, parts: Vec::new() }))
    }

    async fn get_opts(&self, location: &ObjectPath, options: GetOptions) -> Result<GetResult> {
        self.files.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &ObjectPath, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.files.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<ObjectPath>>,
    ) -> BoxStream<'static, Result<ObjectPath>> {
        self.files.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&ObjectPath>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&ObjectPath>,
        offset: &ObjectPath,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&ObjectPath>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &ObjectPath,
        to: &ObjectPath,
        options: CopyOptions,
    ) -> Result<()> {
        self.files.copy_opts(from, to, options).await
    }

    async fn rename_opts(
        &self,
        from: &ObjectPath,
        to: &ObjectPath,
        options: RenameOptions,
    ) -> Result<()> {
        self.files.rename_opts(from, to, options).await
    }
}

/// An upload in parts, in memory until it is complete: checkpoints of a few megabytes are the only
/// objects that come in parts here, tables' files are written in place.
#[derive(Debug)]
struct Upload {
    draft: Draft,
    parts: Vec<PutPayload>,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.push(data);
        future::ready(Ok(())).boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let payload = self.parts.drain(..).flatten().collect();
        self.draft.clone().write(payload).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.clear();
        Ok(())
    }
}

/// An object that is written under a passing name before it gets its own.
#[derive(Clone, Debug)]
struct Draft {
    path: PathBuf,
    mode: PutMode,
    is_synced: bool,
    room: DiskRoom,
}

impl Draft {
    async fn write(self, payload: PutPayload) -> Result<PutResult> {
        match tokio::task::spawn_blocking(move || self.write_now(&payload)).await {
            Ok(result) => result,
            Err(source) => Err(Error::JoinError { source }),
        }
    }

    fn write_now(&self, payload: &PutPayload) -> Result<PutResult> {
        let folder = self.path.parent().ok_or_else(|| generic("an object needs a folder"))?;
        create_folder(folder, self.is_synced).map_err(generic)?;
        // `LocalFileSystem` never lists a name that ends in `#` and digits.
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!("#{}", Uuid::new_v4().as_u128()));
        let staged = PathBuf::from(name);
        let written = self.write_content(&staged, payload).and_then(|()| match self.mode {
            PutMode::Overwrite => fs::rename(&staged, &self.path),
            PutMode::Create => fs::hard_link(&staged, &self.path),
            PutMode::Update(_) => Err(ErrorKind::Unsupported.into()),
        });
        if !matches!((&written, &self.mode), (Ok(()), PutMode::Overwrite)) {
            remove_if_there(&staged).map_err(generic)?;
        }
        match written.and_then(|()| if self.is_synced { sync_folder(folder) } else { Ok(()) }) {
            Ok(()) => Ok(PutResult { e_tag: None, version: None }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(Error::AlreadyExists {
                path: self.path.display().to_string(),
                source: error.into(),
            }),
            Err(error) => Err(generic(error)),
        }
    }

    fn write_content(&self, path: &Path, payload: &PutPayload) -> io::Result<()> {
        let mut file = File::create_new(path)?;
        for chunk in payload {
            self.room.take(chunk.len())?;
            file.write_all(chunk)?;
        }
        if self.is_synced { file.sync_all() } else { Ok(()) }
    }
}

/// Makes a folder and all that lead to it.
fn create_folder(folder: &Path, is_synced: bool) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let Some(parent) = folder.parent() else { return Ok(()) };
    create_folder(parent, is_synced)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ if is_synced => sync_folder(parent),
        _ => Ok(()),
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn generic(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Generic { store: "LocalDisk", source: source.into() }
}
