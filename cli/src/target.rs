//! Where a reading command finds its data: a running server, or a data folder.

use std::io::Cursor;
use std::net::SocketAddr;

use anyhow::{Context, anyhow};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow::ipc::reader::StreamReader;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};
use serde::Serialize;
use serde::de::DeserializeOwned;
use upriver_analyze::format::{self, Format};
use upriver_analyze::{Session, SessionOptions, Work};
use upriver_rules::time::Time;
use upriver_rules::{Audit, Diagnosis, Verification, diagnose};
use upriver_store::place::Location;
use upriver_store::reader::Reader;
use upriver_store::snapshot::SnapshotSource;
use upriver_store::store::StoreOptions;
use upriver_store::time::UnixNanos;

use crate::args::{DocumentFormat, RowFormat, SourceArgs};
use crate::environment;
use crate::error::Advise;
use crate::output::Output;
use crate::questions::{
    AUDIT_PATH, AuditQuestion, DIAGNOSE_PATH, DiagnoseQuestion, QUERIES_HEADER, ROWS_READ_HEADER,
    VERIFY_PATH, VerifyQuestion,
};

/// Server that is asked where neither `--server` nor `--data` is given.
const DEFAULT_SERVER: &str = "http://127.0.0.1:4040";

/// An opened source of data.
#[derive(Debug)]
pub(crate) enum Target {
    /// A running server.
    Server(Server),
    /// A snapshot of a data folder.
    Folder(Session),
}

impl Target {
    /// Opens what was asked for.
    pub(crate) async fn open(args: &SourceArgs) -> anyhow::Result<Self> {
        let Some(folder) = &args.data else {
            let server = Server::new(args.server.as_deref(), args.api_key.as_deref())?;
            return Ok(Self::Server(server));
        };
        let mut options = SessionOptions::default();
        if let Some(partitions) = args.partitions {
            options.target_partitions = partitions;
        }
        Ok(Self::Folder(open_folder(folder, &options).await?))
    }

    /// Diagnoses as of an instant; without one as of now, which in a folder is the newest span's end.
    pub(crate) async fn diagnose(
        &self,
        question: DiagnoseQuestion,
    ) -> anyhow::Result<Answer<Diagnosis>> {
        match self {
            Self::Server(server) => server.diagnose(&question).await,
            Self::Folder(session) => {
                let at = newest_unless(question.at, session).await?;
                Answer::new(diagnose(session, &question.request(at)?).await?, session)
            }
        }
    }

    /// Verifies a rollback as of an instant; without one as of now.
    pub(crate) async fn verify(
        &self,
        question: VerifyQuestion,
    ) -> anyhow::Result<Answer<Verification>> {
        match self {
            Self::Server(server) => server.verify(&question).await,
            Self::Folder(session) => {
                let at = newest_unless(question.at, session).await?;
                Answer::new(question.answer(session, at).await?, session)
            }
        }
    }

    /// Judges a change as of an instant; without one as of now.
    pub(crate) async fn audit(&self, question: AuditQuestion) -> anyhow::Result<Answer<Audit>> {
        match self {
            Self::Server(server) => server.document(AUDIT_PATH, &question).await,
            Self::Folder(session) => {
                let at = newest_unless(question.at, session).await?;
                Answer::new(question.answer(session, at).await?, session)
            }
        }
    }

    /// The session over a folder; rules are not evaluated through a server yet.
    pub(crate) fn folder(&self) -> anyhow::Result<&Session> {
        match self {
            Self::Folder(session) => Ok(session),
            Self::Server(_) => Err(anyhow!("rules are run on a data folder")),
        }
    }

    /// Runs one statement.
    pub(crate) async fn query(&self, sql: &str) -> anyhow::Result<Vec<RecordBatch>> {
        match self {
            Self::Server(server) => server.query(sql).await,
            Self::Folder(session) => Ok(session.query(sql).await?),
        }
    }
}

/// A document, and its JSON as it was first written: reading floats and writing them again may
/// change their last digit.
#[derive(Clone, Debug)]
pub(crate) struct Answer<T> {
    pub(crate) document: T,
    pub(crate) json: Vec<u8>,
    /// What was read for it; a server of another version may not say.
    pub(crate) work: Option<Work>,
}

impl<T: Serialize> Answer<T> {
    fn new(document: T, session: &Session) -> anyhow::Result<Self> {
        let json = serde_json::to_vec_pretty(&document)?;
        Ok(Self { document, json, work: Some(session.work()) })
    }
}

impl<T> Answer<T> {
    /// Prints the document in a form; the page's text comes from the renderers.
    pub(crate) fn print(
        &self,
        form: DocumentFormat,
        [text, markdown]: [fn(&T) -> String; 2],
        output: &mut Output<'_>,
    ) -> anyhow::Result<()> {
        let page = match form {
            DocumentFormat::Text => text(&self.document).into_bytes(),
            DocumentFormat::Markdown => markdown(&self.document).into_bytes(),
            DocumentFormat::Json => [&self.json[..], b"\n"].concat(),
        };
        output.out.write_all(&page)?;
        Ok(())
    }
}

/// A session over what a folder holds now.
pub(crate) async fn open_folder(
    data: &Location,
    options: &SessionOptions,
) -> anyhow::Result<Session> {
    if data.folder().is_some_and(|folder| !folder.is_dir()) {
        return Err(anyhow!("there is no data folder `{data}`"))
            .hint("`upriver serve --data DIR` and `upriver import --data DIR` make one");
    }
    let bucket = environment::bucket_options();
    let store = StoreOptions { data: data.clone(), bucket, ..StoreOptions::default() };
    let reader = Reader::open(store, upriver_ingest::replay())
        .await
        .with_context(|| format!("could not read the tables in `{data}`"))?;
    Ok(Session::new(reader.snapshot(), options)?)
}

/// The instant that was asked for, else the one after the newest span.
pub(crate) async fn newest_unless(at: Option<Time>, session: &Session) -> anyhow::Result<Time> {
    match at {
        Some(at) => Ok(at),
        None => after_newest(session).await,
    }
}

/// The instant after everything that a folder holds: what `now` is for data at rest.
async fn after_newest(session: &Session) -> anyhow::Result<Time> {
    let rows = session.query(NEWEST).await?;
    let newest = rows
        .first()
        .and_then(|rows| rows.column(0).as_primitive_opt::<Int64Type>())
        .filter(|newest| !newest.is_empty() && newest.is_valid(0))
        .map(|newest| newest.value(0));
    let newest = newest.ok_or_else(|| anyhow!("the data folder has no spans"));
    let newest = newest.hint("send or import some, or say as of when with `--at TIME`")?;
    let after = newest.saturating_add(1_000).div_euclid(1_000) * 1_000;
    Ok(Time(UnixNanos(after)))
}

const NEWEST: &str = "SELECT max(start_unix_nano + duration_ns) FROM spans";

/// A running server, over HTTP.
#[derive(Debug)]
pub(crate) struct Server {
    url: String,
    client: reqwest::Client,
}

impl Server {
    /// The server at a URL, the default one unless given, and the key to show it.
    pub(crate) fn new(url: Option<&str>, key: Option<&str>) -> anyhow::Result<Self> {
        let url = url.unwrap_or(DEFAULT_SERVER).trim_end_matches('/').to_owned();
        let mut headers = HeaderMap::new();
        if let Some(key) = key {
            // The error would repeat the key.
            let value = HeaderValue::try_from(format!("Bearer {key}"));
            let mut value =
                value.map_err(|_invalid| anyhow!("the API key is not a header's text"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let client = reqwest::Client::builder().no_proxy().default_headers(headers).build()?;
        Ok(Self { url, client })
    }

    async fn query(&self, sql: &str) -> anyhow::Result<Vec<RecordBatch>> {
        let body = serde_json::json!({ "q": sql, "format": "arrow" });
        let bytes = self.post("/api/v1/query", &body).await?;
        let reader = StreamReader::try_new(Cursor::new(bytes), None)
            .context("the server's answer is not an Arrow stream")?;
        Ok(reader.collect::<Result<_, _>>()?)
    }

    /// The server at an address.
    pub(crate) fn at(api: SocketAddr) -> anyhow::Result<Self> {
        Self::new(Some(&format!("http://{api}")), None)
    }

    /// Lets the server diagnose.
    pub(crate) async fn diagnose(
        &self,
        question: &DiagnoseQuestion,
    ) -> anyhow::Result<Answer<Diagnosis>> {
        self.document(DIAGNOSE_PATH, question).await
    }

    /// Lets the server verify.
    pub(crate) async fn verify(
        &self,
        question: &VerifyQuestion,
    ) -> anyhow::Result<Answer<Verification>> {
        self.document(VERIFY_PATH, question).await
    }

    async fn document<T: DeserializeOwned>(
        &self,
        path: &str,
        question: &impl Serialize,
    ) -> anyhow::Result<Answer<T>> {
        let (headers, json) = self.answered(path, &serde_json::to_value(question)?).await?;
        let document = serde_json::from_slice(&json);
        let document = document.with_context(|| format!("`{path}` answered another document"))?;
        let count = |name| headers.get(name)?.to_str().ok()?.parse().ok();
        let work = count(QUERIES_HEADER)
            .zip(count(ROWS_READ_HEADER))
            .map(|(queries, rows_read)| Work { queries, rows_read });
        Ok(Answer { document, json, work })
    }

    /// Posts a JSON body and gives the answer's bytes; a refusal becomes the server's own message.
    pub(crate) async fn post(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> anyhow::Result<Vec<u8>> {
        Ok(self.answered(path, body).await?.1)
    }

    async fn answered(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> anyhow::Result<(HeaderMap, Vec<u8>)> {
        let sent = self.client.post(format!("{}{path}", self.url)).json(body).send().await;
        let response = sent.with_context(|| format!("no answer from `{}`", self.url)).hint(
            "start `upriver serve`, name another server with `--server URL`, or read a folder with `--data DIR`",
        )?;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await.context("the answer broke off")?;
        if status.is_success() {
            return Ok((headers, bytes.to_vec()));
        }
        let message = serde_json::from_slice::<serde_json::Value>(&bytes)
            .ok()
            .and_then(|error| error.get("message")?.as_str().map(str::to_owned))
            .unwrap_or_else(|| String::from_utf8_lossy(&bytes).into_owned());
        Err(anyhow!("{message}").context(format!("`{}{path}` answered {status}", self.url)))
    }
}

/// Writes rows in the form that was asked for.
pub(crate) fn write_rows(
    rows: &[RecordBatch],
    form: RowFormat,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    let format = match form {
        RowFormat::Table => Format::Table,
        RowFormat::Json => Format::Json,
        RowFormat::Jsonl => Format::Jsonl,
        RowFormat::Csv => Format::Csv,
    };
    Ok(format::write(format, rows, output.out)?)
}
