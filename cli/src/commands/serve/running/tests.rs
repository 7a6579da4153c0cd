use std::net::TcpListener as BlockingListener;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use upriver_ingest::server::{ApiKey, KeyHash};
use upriver_store::schema::Table;

use upriver_store::time::UnixNanos;

use super::*;
use crate::config::{TlsSettings, TlsVersion};

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let response = client.get(format!("http://{address}{path}")).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_queried_committed_and_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(ServeSettings::embedded(folder.path().to_owned())).await.unwrap();
    assert_eq!(get(server.api, "/readyz").await, (200, "ready\n".to_owned()));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let deploy = serde_json::json!({"service": "inventory", "version": "2"});
    let url = format!("http://{}/api/v1/deploys", server.api);
    let posted = client.post(url).json(&deploy).send().await.unwrap();
    assert_eq!(posted.status().as_u16(), 201);
    let query = "/api/v1/query?q=SELECT%20service_version%20FROM%20deploys";
    let (status, rows) = get(server.api, query).await;
    assert_eq!((status, rows.trim()), (200, r#"[{"service_version":"2"}]"#));
    let addresses = [server.grpc, server.otlp_http, server.api];
    server.stop().await.unwrap();
    for address in addresses {
        BlockingListener::bind(address).unwrap();
    }

    let server = start(ServeSettings::embedded(folder.path().to_owned())).await.unwrap();
    let statistics = server.stores[0].statistics();
    assert_eq!(statistics.hot_rows, 0, "committed before the end");
    assert!(statistics.passed[&Table::Deploys] > 0);
    let (_, rows) = get(server.api, query).await;
    assert_eq!(rows.trim(), r#"[{"service_version":"2"}]"#);
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_profiles_itself() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(ServeSettings::embedded(folder.path().to_owned())).await.unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/debug/pprof/profile", server.api);
    let asked = async |query: &str| client.get(format!("{url}{query}")).send().await.unwrap();
    let (first, second) = tokio::join!(asked("?seconds=1"), asked("?seconds=1"));
    let mut statuses = [first.status().as_u16(), second.status().as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409], "one at a time");
    let profile = if first.status().is_success() { first } else { second };
    let upload = upriver_ingest::pprof::PprofUpload::new("upriver");
    let body = profile.bytes().await.unwrap();
    let record = upload.into_record(body, UnixNanos(1_700_000_000_000_000_000));
    upriver_ingest::decode(&record).unwrap();
    assert_eq!(asked("?seconds=0").await.status().as_u16(), 400);
    assert_eq!(asked("?seconds=100000").await.status().as_u16(), 400);
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_has_one_server() {
    let folder = tempfile::tempdir().unwrap();
    let first = start(ServeSettings::embedded(folder.path().to_owned())).await.unwrap();
    let second = start(ServeSettings::embedded(folder.path().to_owned())).await;
    let message = format!("{:#}", second.unwrap_err());
    assert!(message.contains(&folder.path().display().to_string()), "{message}");
    assert!(message.contains("in use"), "{message}");
    first.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_named_with_the_flag_to_change() {
    let folder = tempfile::tempdir().unwrap();
    let taken = BlockingListener::bind("127.0.0.1:0").unwrap();
    let mut settings = ServeSettings::embedded(folder.path().to_owned());
    settings.api.address = taken.local_addr().unwrap();
    let error = start(settings).await.unwrap_err();
    let mut report = Vec::new();
    crate::error::report(&error, &mut report).unwrap();
    let report = String::from_utf8(report).unwrap();
    assert!(report.contains(&format!("could not listen on {}", taken.local_addr().unwrap())));
    assert!(report.contains("`--api ADDRESS`"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_listener_is_guarded() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(ServeSettings::embedded(folder.path().to_owned())).await.unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for address in [server.grpc, server.otlp_http, server.api] {
        for (name, value) in [("Host", "evil.example"), ("Origin", "http://evil.example")] {
            let request = client.get(format!("http://{address}/api/v1/query?q=SELECT%201"));
            let answer = request.header(name, value).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 403, "{address} {name}");
        }
    }
    server.stop().await.unwrap();
}

/// Files of an authority, and of a server and a client whose certificates it signed.
struct Certificates {
    folder: tempfile::TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = CertifiedIssuer::self_signed(params, key).unwrap();
        let this = Self { folder: tempfile::tempdir().unwrap(), authority };
        this.write("authority.pem", &this.authority.pem());
        this.sign("server");
        this
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// Writes `NAME.pem` and `NAME.key`, and gives both texts together.
    fn sign(&self, name: &str) -> String {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        self.write(&format!("{name}.pem"), &certificate.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
        certificate.pem() + &key.serialize_pem()
    }

    fn settings(&self, asks_clients: bool) -> TlsSettings {
        let file = |name: &str| self.folder.path().join(name);
        TlsSettings {
            cert_file: file("server.pem"),
            key_file: file("server.key"),
            client_ca_file: asks_clients.then(|| file("authority.pem")),
            min_version: TlsVersion::Tls13,
        }
    }

    fn client(&self) -> reqwest::ClientBuilder {
        let authority = reqwest::Certificate::from_pem(self.authority.pem().as_bytes()).unwrap();
        reqwest::Client::builder().no_proxy().add_root_certificate(authority)
    }
}

async fn status(client: &reqwest::Client, server: &RunningServer) -> Result<u16, reqwest::Error> {
    let url = format!("https://localhost:{}/readyz", server.api.port());
    Ok(client.get(url).send().await?.status().as_u16())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_with_a_certificate_speaks_tls_alone() {
    let certificates = Certificates::new();
    let folder = tempfile::tempdir().unwrap();
    let mut settings = ServeSettings::embedded(folder.path().to_owned());
    settings.api.tls = Some(certificates.settings(false));
    let server = start(settings).await.unwrap();
    let client = certificates.client().build().unwrap();
    assert_eq!(status(&client, &server).await.unwrap(), 200);
    let stranger = reqwest::Client::builder().no_proxy().build().unwrap();
    assert!(status(&stranger, &server).await.is_err(), "the authority is not known to it");
    let plain = stranger.get(format!("http://{}/readyz", server.api)).send().await;
    assert!(plain.is_err(), "{plain:?}");
    let old = certificates.client().max_tls_version(reqwest::tls::Version::TLS_1_2);
    assert!(status(&old.build().unwrap(), &server).await.is_err());
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_show_a_certificate_where_it_is_asked_for() {
    let certificates = Certificates::new();
    let folder = tempfile::tempdir().unwrap();
    let mut settings = ServeSettings::embedded(folder.path().to_owned());
    settings.api.tls = Some(certificates.settings(true));
    let server = start(settings).await.unwrap();
    let without = certificates.client().build().unwrap();
    assert!(status(&without, &server).await.is_err());
    let known = reqwest::Identity::from_pem(certificates.sign("client").as_bytes()).unwrap();
    let known = certificates.client().identity(known).build().unwrap();
    assert_eq!(status(&known, &server).await.unwrap(), 200);
    let foreign = reqwest::Identity::from_pem(Certificates::new().sign("client").as_bytes());
    let foreign = certificates.client().identity(foreign.unwrap()).build().unwrap();
    assert!(status(&foreign, &server).await.is_err());
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_cannot_be_read_is_named() {
    let certificates = Certificates::new();
    let folder = tempfile::tempdir().unwrap();
    let mut settings = ServeSettings::embedded(folder.path().to_owned());
    let mut tls = certificates.settings(false);
    tls.key_file = certificates.folder.path().join("missing.key");
    settings.api.tls = Some(tls.clone());
    let message = format!("{:#}", start(settings.clone()).await.unwrap_err());
    assert!(message.contains("missing.key"), "{message}");
    certificates.write("other.key", &KeyPair::generate().unwrap().serialize_pem());
    tls.key_file = certificates.folder.path().join("other.key");
    settings.api.tls = Some(tls);
    let message = format!("{:#}", start(settings).await.unwrap_err());
    assert!(message.contains("do not fit"), "{message}");
}

fn key(name: &str, tenant: &str) -> ApiKey {
    ApiKey {
        name: name.to_owned(),
        hash: KeyHash::of(name),
        scopes: Scope::ALL.to_vec(),
        tenant: tenant.to_owned(),
        other_tenants: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_see_their_own_rows_before_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = ServeSettings::embedded(folder.path().to_owned());
    settings.access.keys = vec![key("shop-key", "shop"), key("lab-key", "lab")];
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let server = start(settings.clone()).await.unwrap();
    for (key, service) in [("shop-key", "checkout"), ("lab-key", "robot")] {
        let deploy = serde_json::json!({"service": service, "version": "2"});
        let url = format!("http://{}/api/v1/deploys", server.api);
        let posted = client.post(url).bearer_auth(key).json(&deploy).send().await.unwrap();
        assert_eq!(posted.status().as_u16(), 201);
    }
    let seen = async |server: &RunningServer, key: &str| {
        let query = "/api/v1/query?q=SELECT%20service_name%20FROM%20deploys";
        let request = client.get(format!("http://{}{query}", server.api)).bearer_auth(key);
        request.send().await.unwrap().text().await.unwrap()
    };
    let expected = |service: &str| format!("[{{\"service_name\":\"{service}\"}}]");
    assert_eq!(seen(&server, "shop-key").await.trim(), expected("checkout"));
    assert_eq!(seen(&server, "lab-key").await.trim(), expected("robot"));
    server.stop().await.unwrap();
    let server = start(settings).await.unwrap();
    assert_eq!(seen(&server, "shop-key").await.trim(), expected("checkout"));
    assert_eq!(seen(&server, "lab-key").await.trim(), expected("robot"));
    server.stop().await.unwrap();
}
