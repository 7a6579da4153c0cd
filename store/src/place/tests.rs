use object_store::{ObjectStoreExt, PutMode, PutPayload};

use super::*;

#[test]
fn a_location_is_a_folder_or_a_bucket() {
    let of = |text: &str| text.parse::<Location>();
    assert_eq!(of("./data").unwrap(), Location::Folder("./data".into()));
    assert_eq!(of("s3://b/p").unwrap().to_string(), "s3://b/p");
    assert_eq!(of("s3://b/p").unwrap().folder(), None);
    for (text, why) in [
        ("", "empty"),
        ("ftp://host/x", "`ftp` is not known; use s3://"),
        ("s3://", "names no bucket"),
        ("s3://bucket/mit%20leer", "letters, digits"),
        ("s3://key:secret@bucket/x", "credentials in the environment"),
    ] {
        let message = of(text).unwrap_err();
        assert!(message.contains(why) && !message.contains("secret"), "{text}: {message}");
    }
}

#[test]
fn options_are_those_of_buckets_and_show_no_values() {
    let variables =
        [("AWS_SECRET_ACCESS_KEY", "hidden"), ("HOME", "/root"), ("GOOGLE_BUCKET", "b")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let options = BucketOptions::from_variables(variables);
    assert_eq!(format!("{options:?}"), r#"["aws_secret_access_key", "google_bucket"]"#);
}

#[test]
fn a_bucket_is_opened_with_the_options_given() {
    let given = [
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "hidden"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ("AWS_ALLOW_HTTP", "true"),
        ("AZURE_UNKNOWN", "passed over"),
    ];
    let variables = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let options = BucketOptions::from_variables(variables);
    let url = Url::parse("s3://bucket/some/prefix").unwrap();
    let place = Place::bucket(&url, &options, None).unwrap().child("default").child("spans");
    assert_eq!(place.url().as_str(), "s3://bucket/some/prefix/default/spans/");
    assert_eq!(place.prefix.as_ref(), "some/prefix/default/spans");
    assert!(!format!("{place:?}").contains("hidden"));
}

#[tokio::test]
async fn an_object_is_created_once_and_found_under_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::folder(&folder.path().join("with space % and ü"), true).unwrap().child("t");
    let objects = place.objects();
    let path = ObjectPath::from("_delta_log/0.json");
    let create = || objects.put_opts(&path, PutPayload::from_static(b"x"), PutMode::Create.into());
    create().await.unwrap();
    let again = create().await.unwrap_err();
    assert!(matches!(again, object_store::Error::AlreadyExists { .. }), "{again}");
    let read = objects.get(&path).await.unwrap().bytes().await.unwrap();
    assert_eq!(&read[..], b"x");
    let log = place.local().unwrap().join("_delta_log");
    let names: Vec<_> = std::fs::read_dir(log).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["0.json"], "no drafts are left");
}
