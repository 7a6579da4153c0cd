use std::net::TcpListener as BlockingListener;

use upriver_store::schema::Table;

use super::*;

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
    let statistics = server.store.statistics();
    assert_eq!(statistics.hot_rows, 0, "committed before the end");
    assert!(statistics.passed[&Table::Deploys] > 0);
    let (_, rows) = get(server.api, query).await;
    assert_eq!(rows.trim(), r#"[{"service_version":"2"}]"#);
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
